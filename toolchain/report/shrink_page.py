"""What was found as a page: metric lost against bytes, and what became of each layer."""

from __future__ import annotations

from html import escape

from toolchain.report.parity_page import render
from toolchain.search.search import EvaluatedPlan
from toolchain.search.shrink import Shrunk

WIDTH, HEIGHT, LEFT, BOTTOM = 1000, 300, 70, 40


def page(shrunk: Shrunk) -> str:
    """Self-contained HTML."""
    kind = "failed" if shrunk.exit_code else "passed"
    files = "".join(f"<li>{escape(t)}: {n:,} bytes</li>" for t, n in shrunk.sizes.items())
    said = shrunk.problem or f"bound by {shrunk.binding}"
    body = (
        f'<h2>{escape(shrunk.model)}</h2><p class="{kind}">{escape(said)}</p><ul>{files}</ul>'
        f"{_chart(shrunk)}{_layers(shrunk)}"
    )
    return render("Shrunk", body)


def _chart(shrunk: Shrunk) -> str:
    points = sorted([*shrunk.curve, shrunk.point], key=lambda p: p.bytes)
    most = max(0.01, *(p.drop for p in points))
    left, right = points[0].bytes, max(points[-1].bytes, points[0].bytes + 1)

    def place(point: EvaluatedPlan) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - 20) * (point.bytes - left) / (right - left)
        return x, 10 + (HEIGHT - 20) * (1 - max(point.drop, 0) / most)

    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, points))
    dots = "".join(_dot(point, *place(point), point is shrunk.point) for point in points)
    name = escape(shrunk.search.base.metric.name)
    return (
        f'<div class="worst"><h3>{name} lost, against the bytes of the numbers</h3>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + BOTTOM}" role="img">'
        f'<text x="4" y="18" fill="var(--ink)" font-size="13">{most:.1%}</text>'
        f'<text x="4" y="{HEIGHT - 4}" fill="var(--ink)" font-size="13">0 %</text>'
        f'<text x="{LEFT}" y="{HEIGHT + 24}" fill="var(--ink)" font-size="13">'
        f"{left / 1e6:.2f} MB</text>"
        f'<text x="{WIDTH - 80}" y="{HEIGHT + 24}" fill="var(--ink)" font-size="13">'
        f"{right / 1e6:.2f} MB</text>"
        f'<polyline points="{line}" fill="none" stroke="var(--ink)"/>{dots}</svg></div>'
    )


def _dot(point: EvaluatedPlan, x: float, y: float, chosen: bool) -> str:
    colour, radius = ("var(--bad)", 7) if chosen else ("var(--bar)", 5)
    layers = ", ".join(f"{n} {kind}" for kind, n in point.counts.items())
    words = f"{point.bytes / 1e6:.3f} MB, drop {point.drop:.2%}: {layers}"
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}">'
        f"<title>{escape(words)}</title></circle>"
    )


def _layers(shrunk: Shrunk) -> str:
    rows = "".join(
        f"<tr><td>{escape(c.layer)}</td><td>{c.kind}</td><td>{c.bytes:,}</td>"
        f"<td>{c.error:.3g}</td></tr>"
        for c in sorted(shrunk.point.plan.values(), key=lambda c: -c.bytes)
    )
    head = (
        "<tr><th>layer</th><th>stored as</th><th>bytes</th><th>squared error, tolerances</th></tr>"
    )
    return f"<h3>Layers</h3><table>{head}{rows}</table>"
