"""A blamed bundle as a page: the error against the depth of the network, for each backend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from toolchain.debug.blame import BackendBlame, Blame, LayerError
from toolchain.report.blame_table import verdict
from toolchain.report.render import render

WIDTH, HEIGHT, LEFT, BOTTOM = 1000, 240, 56, 22
TOP, LOWEST = 0, -8
"""The powers of ten at the upper and lower end of the scale."""


def page(blamed: Sequence[Blame]) -> str:
    """The page of a run: verdicts, stages, and a chart for each backend."""
    return render(
        "blame.html.j2",
        title="Layer by layer",
        sections=[_section(one) for one in blamed],
        scale=[(_y(10.0**power), _label(power)) for power in range(TOP, LOWEST - 1, -2)],
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        bottom=BOTTOM,
    )


def _section(one: Blame) -> dict[str, Any]:
    return {
        "name": one.subject.name,
        "case": one.case,
        "kind": {0: "passed", 1: "failed", 3: "skipped"}[one.exit_code],
        "said": verdict(one),
        "charts": [_chart(backend) for backend in one.backends],
    }


def _chart(backend: BackendBlame) -> dict[str, Any]:
    """A bar a layer, and the line through what has come together."""
    step = (WIDTH - LEFT) / max(len(backend.layers), 1)
    points = (
        f"{LEFT + (i + 0.5) * step:.1f},{_y(x.total):.1f}" for i, x in enumerate(backend.layers)
    )
    return {
        "backend": backend.backend,
        "skipped": backend.skipped,
        "bars": [_bar(layer, index, step) for index, layer in enumerate(backend.layers)],
        "line": " ".join(points),
    }


def _bar(layer: LayerError, index: int, step: float) -> dict[str, Any]:
    return {
        "x": LEFT + index * step,
        "y": _y(layer.added),
        "width": max(step - 1, 0.7),
        "off": layer.off,
        "said": f"{layer.name}, {layer.source}: adds {layer.added:.1e}, total {layer.total:.1e}",
    }


def _label(power: int) -> str:
    return "100 %" if power == 0 else "1 %" if power == -2 else f"1e{power}"


def _y(share: float) -> float:
    """Where a share lies: the top for 1 and more, the bottom for the least that is shown."""
    if not math.isfinite(share):
        return 8.0
    power = math.log10(max(share, 10.0**LOWEST))
    return 8 + (HEIGHT - 8) * (TOP - min(power, TOP)) / (TOP - LOWEST)
