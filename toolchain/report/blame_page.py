"""A blamed bundle as a page: the error against the depth of the network, for each backend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from toolchain.debug.blame import BackendBlame, Blame, LayerError
from toolchain.report.blame_table import verdict
from toolchain.report.parity_page import render

WIDTH, HEIGHT, LEFT, BOTTOM = 1000, 240, 56, 22
TOP, LOWEST = 0, -8
"""The powers of ten at the upper and lower end of the scale."""


def page(blamed: Sequence[Blame]) -> str:
    """The page of a run: verdicts, stages, and a chart for each backend."""
    return render("Layer by layer", "".join(map(_section, blamed)))


def _section(one: Blame) -> str:
    kind = {0: "passed", 1: "failed", 3: "skipped"}[one.exit_code]
    said = "".join(f'<p class="{kind}">{escape(sentence)}</p>' for sentence in verdict(one))
    charts = "".join(_chart(backend) for backend in one.backends)
    name = escape(one.subject.name)
    return f"<h2>{name}</h2><p class=faint>case {escape(one.case)}</p>{said}{charts}"


def _chart(backend: BackendBlame) -> str:
    title = f"<h3>{escape(backend.backend)}</h3>"
    if not backend.layers:
        return f"{title}<p class=faint>{escape(backend.skipped)}</p>"
    step = (WIDTH - LEFT) / len(backend.layers)
    points = [
        f"{LEFT + (i + 0.5) * step:.1f},{_y(x.total):.1f}" for i, x in enumerate(backend.layers)
    ]
    bars = "".join(_bar(layer, i, step) for i, layer in enumerate(backend.layers))
    line = f'<polyline points="{" ".join(points)}" fill="none" stroke="var(--ink)"/>'
    view = f'viewBox="0 0 {WIDTH} {HEIGHT + BOTTOM}" role="img"'
    return (
        f'<div class="worst">{title}<p class=faint>Bars: what each layer adds. Line: what has come '
        "together. As a share of the layer's largest value; in the order in which layers run.</p>"
        f"<svg {view}>{_scale()}{bars}{line}</svg></div>"
    )


def _bar(layer: LayerError, index: int, step: float) -> str:
    y = _y(layer.added)
    colour = "var(--bad)" if layer.off else "var(--bar)"
    words = f"{layer.name}, {layer.source}: adds {layer.added:.1e}, total {layer.total:.1e}"
    return (
        f'<rect x="{LEFT + index * step:.1f}" y="{y:.1f}" width="{max(step - 1, 0.7):.1f}" '
        f'height="{HEIGHT - y:.1f}" fill="{colour}"><title>{escape(words)}</title></rect>'
    )


def _scale() -> str:
    """A line for every second power of ten."""
    lines = []
    for power in range(TOP, LOWEST - 1, -2):
        y = _y(10.0**power)
        lines.append(
            f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_label(power)}</text>'
        )
    return "".join(lines)


def _label(power: int) -> str:
    return "100 %" if power == 0 else "1 %" if power == -2 else f"1e{power}"


def _y(share: float) -> float:
    """Where a share lies: the top for 1 and more, the bottom for the least that is shown."""
    if not math.isfinite(share):
        return 8.0
    power = math.log10(max(share, 10.0**LOWEST))
    return 8 + (HEIGHT - 8) * (TOP - min(power, TOP)) / (TOP - LOWEST)
