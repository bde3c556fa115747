"""Plots of ratios as SVG: the same results give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

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
    height = TOP + ROW * len(models) + BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(12, 24, title, size=15),
        *_legend(found),
        *_axis(scale, height - BOTTOM),
        *_rows(models, found, scale),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


class _Scale:
    """Ratios from `low` to `high` as places from left to right."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return LEFT + share * (WIDTH - LEFT - 24)


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="#333333">{escape(text)}</text>'
    )


def _dot(x: float, y: float, tool: str, label: str) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{COLOURS[tool]}" fill-opacity="0.8">'
        f"<title>{escape(label)}</title></circle>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}"/>'


def _legend(found: Ratios) -> Iterator[str]:
    x = 12.0
    for tool in found:
        yield _dot(x + 5, 46, tool, tool)
        yield _text(x + 15, 50, tool)
        x += 34 + 7 * len(tool)


def _axis(scale: _Scale, bottom: float) -> Iterator[str]:
    for tick in TICKS:
        if scale.low <= tick <= scale.high:
            x = scale(tick)
            yield _line(x, TOP - 8, x, bottom, "#333333" if tick == 1 else "#dddddd")
            yield _text(x, bottom + 18, "mlship" if tick == 1 else f"{tick:g}x", anchor="middle")


def _rows(models: Sequence[str], found: Ratios, scale: _Scale) -> Iterator[str]:
    for index, model in enumerate(models):
        y = TOP + ROW * (index + 0.5)
        yield _line(LEFT, y, WIDTH - 24, y, "#eeeeee")
        yield _text(LEFT - 10, y + 4, model, anchor="end")
        for tool, row in found.items():
            if model in row:
                yield _dot(scale(row[model]), y, tool, f"{model}, {tool}: {row[model]:.2f}x")
