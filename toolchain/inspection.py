"""`mlship inspect`: a bundle's manifest, readable, and how its artifact will run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from converters.encodings import BITS
from model_defs.spec import TensorSpec
from toolchain import terminal
from toolchain.bundle import Bundle
from toolchain.parity import ParityReport

if TYPE_CHECKING:
    from rich.table import Table

    from converters.tflite import Partitions

LAYOUTS = {(0, 1, 2, 3): "NCHW", (0, 2, 3, 1): "NHWC"}


def facts(bundle: Bundle) -> dict[str, Any]:
    """The manifest; of a .tflite also how many parts XNNPACK runs, and what it does not run."""
    found = _partitions(bundle)
    return bundle.manifest | ({"partitions": asdict(found)} if found else {})


def _partitions(bundle: Bundle) -> Partitions | None:
    artifact = bundle.manifest["artifact"]
    if artifact["format"] != "tflite":
        return None
    from converters.tflite import partitions

    return partitions(bundle.directory / artifact["path"])


def show(bundle: Bundle) -> None:
    """What it is, its tensors, its files, how it runs, and how it was proved."""
    manifest = bundle.manifest
    model, recipe = manifest["model"], manifest["recipe"]
    precision = manifest["artifact"]["precision"]
    rows = terminal.table(f"{bundle.name} for {bundle.target}", "", "")
    rows.add_row("model", f"{model['summary']}, {model['parameters']:,} parameters")
    rows.add_row("weights", model["weights"])
    rows.add_row("recipe", f"{recipe['name']} ({', '.join(recipe['passes'])}), {precision}")
    rows.add_row("artifact", f"{manifest['artifact']['path']}, {_size(bundle)}")
    if (partitions := _partitions(bundle)) is not None:
        rows.add_row("XNNPACK", str(partitions))
    rows.add_row("made with", ", ".join(f"{k} {v}" for k, v in manifest["tools"].items()))
    for note in [*manifest["notes"], *manifest["artifact"]["notes"]]:
        rows.add_row("note", note)
    rows.add_row("checksums", f"{len(manifest['files'])} files verified")
    report = ParityReport.from_json(manifest["parity"])
    terminal.show(rows, _tensors(bundle), terminal.parity_table(report.rows))


def _size(bundle: Bundle) -> str:
    parameters = int(bundle.manifest["model"]["parameters"])
    width = BITS[bundle.manifest["artifact"]["precision"]] // 8
    ideal = bundle.artifact_bytes / (parameters * width)
    return f"{terminal.size(bundle.artifact_bytes)} ({ideal:.3f} x parameters x {width} bytes)"


def _tensors(bundle: Bundle) -> Table:
    columns = ("tensor", "stored as", "shape", "layout", "type", "unit", "range", "pictures")
    made = terminal.table("tensors", *columns)
    artifact = bundle.manifest["artifact"]
    ports = {port["name"]: port for port in [*artifact["inputs"], *artifact["outputs"]]}
    for spec in (*bundle.inputs, *bundle.outputs):
        port = ports[spec.name]
        axes = tuple(port["axes"])
        made.add_row(
            spec.name,
            port["stored_as"],
            "x".join(map(str, port["shape"])),
            LAYOUTS.get(axes, str(axes)),
            port["dtype"],
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
