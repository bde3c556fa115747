"""What `mlship shrink` prints."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.measure.units import bytes_text
from toolchain.report import plain, terminal
from toolchain.search.search import EvaluatedPlan
from toolchain.search.shrink import Shrunk


def show(shrunk: Shrunk) -> None:
    """The curve, the plan and the files."""
    metric, base = shrunk.search.base.metric, shrunk.search.base
    title = f"{shrunk.model}: {metric.name} {base.value:.4g} {metric.unit} in float32"
    made = terminal.table(
        title, "numbers", metric.name, "drop", "layers", right=("numbers", metric.name, "drop")
    )
    for point in _rows(shrunk):
        style = "bold" if point is shrunk.point else None
        layers = ", ".join(f"{n} {kind}" for kind, n in point.counts.items())
        cells = (bytes_text(point.bytes), f"{point.score.value:.4f}", f"{point.drop:.2%}")
        made.add_row(*cells, layers, style=style)
    terminal.show(made)
    if shrunk.problem:
        plain.say(shrunk.problem, fg="red", err=True)
        plain.say("no bundle was written", err=True)
        return
    for built in shrunk.built:
        if built.bundle:
            plain.say(f"{built.bundle.directory}: {built.bundle.artifact_bytes:,} bytes")
    plain.say(f"bound by {shrunk.binding}")


def _rows(shrunk: Shrunk) -> Sequence[EvaluatedPlan]:
    return sorted([*shrunk.curve, shrunk.point], key=lambda point: (point.bytes, point.drop))
