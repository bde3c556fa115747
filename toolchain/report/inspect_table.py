"""What `mlship inspect` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.measure.units import bytes_text
from model_defs.spec import TensorSpec, said_state
from toolchain.bench.size import measure_bundle, stored_bytes
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.parity_report import ParityReport
from toolchain.bundle.pass_record import PassRecord
from toolchain.debug.inspection import partitions_of
from toolchain.report import terminal
from toolchain.report.build_table import case_table

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

LAYOUTS: dict[tuple[int, ...], str] = {(0, 1, 2, 3): "NCHW", (0, 2, 3, 1): "NHWC"}


def show(bundle: Bundle, report: ParityReport, *, why: bool = False) -> None:
    """What it is, its tensors, its files, how it runs, and how it was proved.

    `report` is what came of running it on its golden vectors.

    `why` adds what each pass did, and where the bytes are, layer by layer.
    """
    manifest = bundle.manifest
    model, recipe, artifact = manifest.model, manifest.recipe, manifest.artifact
    rows = terminal.table(f"{bundle.name} for {bundle.target}", "", "")
    rows.add_row("model", f"{model.summary}, {model.parameters:,} parameters")
    rows.add_row("weights", str(model.weights))
    rows.add_row("recipe", f"{recipe.name} ({', '.join(recipe.passes)}), {artifact.precision}")
    rows.add_row("artifact", f"{artifact.path}, {_size(bundle)}")
    if bundle.sizes:
        rows.add_row("sizes", _sizes(bundle))
    if (partitions := partitions_of(bundle)) is not None:
        rows.add_row("XNNPACK", f"{partitions}{' (at the default size)' if bundle.sizes else ''}")
    rows.add_row("made with", ", ".join(f"{k} {v}" for k, v in manifest.tools.items()))
    if manifest.state:
        rows.add_row("state", f"{said_state(manifest.state)}, zeros at first")
    for note in manifest.all_notes:
        rows.add_row("note", note)
    rows.add_row("checksums", f"{len(manifest.files)} files verified")
    rows.add_row("golden vectors", _golden(report))
    for layer, reason in recipe.keep.items():
        rows.add_row("float32", f"{layer}: {reason}")
    reasons = (_pass_report(recipe.pass_report), _layers(bundle)) if why else ()
    terminal.show(rows, _tensors(bundle), *reasons, case_table(bundle.report.rows))


def _golden(report: ParityReport) -> str | Text:
    """Whether the file still computes what it was built to compute."""
    if report.failures:
        return terminal.styled(("\n".join(report.failures), "red"))
    found = []
    for question in report.questions:
        worst = report.worst_of(question)
        if worst is not None:
            how = f"{worst.error:.1e} of {worst.tolerance:.1e}"
            found.append(f"{question} on {worst.backend}, worst {how}")
    return "; ".join(found) or "; ".join(dict.fromkeys(row.note for row in report.rows))


def _sizes(bundle: Bundle) -> str:
    """The default, then the others with what the file calls them."""
    entries = [f"{one.name} ({one.stored_as})" for one in bundle.artifact.entries]
    return ", ".join([f"{bundle.sizes[0]} (default)", *entries])


def _size(bundle: Bundle) -> str:
    total, numbers = bundle.artifact_bytes, stored_bytes(bundle)
    return (
        f"{bytes_text(total)} ({total / numbers:.3f} x its numbers)"
        if numbers
        else (bytes_text(total))
    )


def _pass_report(entries: Sequence[PassRecord]) -> Table:
    """What each pass left, and how far the outputs are from the model's."""
    metrics = list(dict.fromkeys(name for entry in entries for name in entry.metrics))
    heads = ("numbers", "parameters", "GMAC", "moved / tolerance", *metrics)
    made = terminal.table("pass by pass", "after", *heads, right=heads)
    for entry in entries:
        made.add_row(
            entry.after,
            bytes_text(entry.bytes),
            f"{entry.parameters:,}",
            f"{entry.macs / 1e9:.3f}",
            f"{entry.moved:.3g}",
            *(f"{entry.metrics[name]:.4g}" if name in entry.metrics else "-" for name in metrics),
        )
    return made


def _layers(bundle: Bundle) -> Table:
    """Where the bytes are: the largest layers first, and the types that they are stored in."""
    _, row = measure_bundle(bundle.directory)
    heads = ("bytes", "share")
    made = terminal.table("layer by layer", "layer", "stored as", *heads, right=heads)
    for layer in row.layers:
        kinds = ", ".join(dict.fromkeys(item.dtype for item in layer.tensors))
        made.add_row(layer.name, kinds, bytes_text(layer.bytes), f"{layer.bytes / row.disk:.1%}")
    for kind in ("graph", "padding"):
        count = row.kinds.get(kind, 0)
        made.add_row(
            terminal.styled((kind, "dim")), "", bytes_text(count), f"{count / row.disk:.1%}"
        )
    return made


def _tensors(bundle: Bundle) -> Table:
    columns = ("tensor", "stored as", "shape", "layout", "type", "unit", "range", "pictures")
    made = terminal.table("tensors", *columns)
    artifact = bundle.artifact
    ports = {port.name: port for port in (*artifact.inputs, *artifact.outputs)}
    for spec in (*bundle.inputs, *bundle.outputs):
        port = ports[spec.name]
        made.add_row(
            spec.name,
            port.stored_as,
            "x".join(map(str, port.shape)),
            LAYOUTS.get(port.axes, str(port.axes)),
            port.dtype,
            spec.unit,
            f"{_bound(spec.low)} .. {_bound(spec.high)}",
            _pictures(spec),
        )
    return made


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _pictures(spec: TensorSpec) -> str:
    rule = spec.preprocess
    if rule is not None:
        formula = f"(pixel - {_per_channel(rule.mean)}) / {_per_channel(rule.std)}"
        return f"{rule.colour}, {rule.resize}, {rule.filter}, {formula}"
    shown = spec.postprocess
    if shown is None:
        return ""
    return f"{_bound(shown.low) or 'min'}..{_bound(shown.high) or 'max'} shown as 0..255"


def _per_channel(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else str(tuple(values))
