"""What was found as a page: metric lost against bytes, and what became of each layer."""

from __future__ import annotations

from typing import Any

from benchmarks.measure.units import bytes_text
from toolchain.report.render import render
from toolchain.search.search import EvaluatedPlan
from toolchain.search.shrink import Shrunk

WIDTH, HEIGHT, LEFT, BOTTOM = 1000, 300, 70, 40


def page(shrunk: Shrunk) -> str:
    """Self-contained HTML."""
    points = sorted([*shrunk.curve, shrunk.point], key=lambda p: p.bytes)
    most = max(0.01, *(p.drop for p in points))
    left, right = points[0].bytes, max(points[-1].bytes, points[0].bytes + 1)

    def place(point: EvaluatedPlan) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - 20) * (point.bytes - left) / (right - left)
        return x, 10 + (HEIGHT - 20) * (1 - max(point.drop, 0) / most)

    return render(
        "shrink.html.j2",
        title="Shrunk",
        shrunk=shrunk,
        said=shrunk.problem or f"bound by {shrunk.binding}",
        metric=shrunk.search.base.metric.name,
        most=f"{most:.1%}",
        fewest=bytes_text(left),
        largest=bytes_text(right),
        line=" ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, points)),
        dots=[_dot(point, *place(point), point is shrunk.point) for point in points],
        choices=sorted(shrunk.point.plan.values(), key=lambda choice: -choice.bytes),
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        bottom=BOTTOM,
    )


def _dot(point: EvaluatedPlan, x: float, y: float, chosen: bool) -> dict[str, Any]:
    layers = ", ".join(f"{n} {kind}" for kind, n in point.counts.items())
    said = f"{bytes_text(point.bytes)}, drop {point.drop:.2%}: {layers}"
    return {"x": x, "y": y, "chosen": chosen, "said": said}
