"""Plots of ratios as SVG: the same results give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure.templates import environment

Ratios = Mapping[str, Mapping[str, float]]
"""Tool -> model -> its figure over ours."""

COLOURS = {
    "onnx2tf": "#0b6e99",
    "litert-torch": "#d9730d",
    "TinyNeuralNetwork": "#448361",
    "ExecuTorch": "#9065b0",
    "ONNX Runtime": "#c14c8a",
    "TF.js converter": "#b8860b",
    "coremltools": "#787774",
}
TICKS = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 50)
LEFT, WIDTH, ROW, TOP, BOTTOM = 190, 860, 24, 74, 40


def dots(title: str, models: Sequence[str], found: Ratios) -> str:
    """A line a model, a dot a tool; the axis is logarithmic, and ours stands at 1."""
    values = [value for row in found.values() for value in row.values()]
    scale = _Scale(min([0.9, *values]) * 0.95, max([1.1, *values]) * 1.05)
    bottom = TOP + ROW * len(models)
    ticks = [tick for tick in TICKS if scale.low <= tick <= scale.high]
    return (
        environment(Path(__file__).parent)
        .get_template("dots.svg.j2")
        .render(
            title=title,
            legend=list(_legend(found)),
            ticks=[{"x": scale(t), "ours": t == 1, "said": _tick(t)} for t in ticks],
            rows=list(_rows(models, found, scale)),
            colours=COLOURS,
            left=LEFT,
            width=WIDTH,
            top=TOP,
            bottom=bottom,
            height=bottom + BOTTOM,
        )
    )


class _Scale:
    """Ratios from `low` to `high` as places from left to right."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return LEFT + share * (WIDTH - LEFT - 24)


def _legend(found: Ratios) -> Iterator[dict[str, Any]]:
    x = 12.0
    for tool in found:
        yield {"x": x, "tool": tool}
        x += 34 + 7 * len(tool)


def _tick(value: float) -> str:
    return "mlship" if value == 1 else f"{value:g}x"


def _rows(models: Sequence[str], found: Ratios, scale: _Scale) -> Iterator[dict[str, Any]]:
    for index, model in enumerate(models):
        dots = [
            {"x": scale(row[model]), "tool": tool, "said": f"{model}, {tool}: {row[model]:.2f}x"}
            for tool, row in found.items()
            if model in row
        ]
        yield {"y": TOP + ROW * (index + 0.5), "model": model, "dots": dots}
