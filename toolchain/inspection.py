"""`mlship inspect`: a bundle's manifest, readable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_defs.spec import TensorSpec
from toolchain import terminal
from toolchain.bundle import Bundle
from toolchain.parity import ParityReport

if TYPE_CHECKING:
    from rich.table import Table

LAYOUTS = {(0, 1, 2, 3): "NCHW", (0, 2, 3, 1): "NHWC"}


def show(bundle: Bundle) -> None:
    """What it is, its tensors, its files, and how it was proved."""
    manifest = bundle.manifest
    model, recipe = manifest["model"], manifest["recipe"]
    precision = manifest["artifact"]["precision"]
    facts = terminal.table(f"{bundle.name} for {bundle.target}", "", "")
    facts.add_row("model", f"{model['summary']}, {model['parameters']:,} parameters")
    facts.add_row("weights", model["weights"])
    facts.add_row("recipe", f"{recipe['name']} ({', '.join(recipe['passes'])}), {precision}")
    facts.add_row("artifact", f"{manifest['artifact']['path']}, {_size(bundle)}")
    facts.add_row("made with", ", ".join(f"{k} {v}" for k, v in manifest["tools"].items()))
    for note in [*manifest["notes"], *manifest["artifact"]["notes"]]:
        facts.add_row("note", note)
    facts.add_row("checksums", f"{len(manifest['files'])} files verified")
    report = ParityReport.from_json(manifest["parity"])
    terminal.show(facts, _tensors(bundle), terminal.parity_table(report.rows))


def _size(bundle: Bundle) -> str:
    parameters = int(bundle.manifest["model"]["parameters"])
    width = 4 if bundle.manifest["artifact"]["precision"] == "float32" else 2
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
