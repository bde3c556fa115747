"""Charts of numbers on two axes: where their points and ticks lie, for templates that draw them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 1000, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 44
TICKS = 5
STEPS = (1, 2, 5, 10)
"""Ticks lie at these multiples of a power of ten."""

Point = tuple[float, float]


@dataclass(frozen=True)
class ChartMark:
    """A point, what is said of it, and how it is drawn: picked, front, or other."""

    at: Point
    said: str
    kind: str = "other"


@dataclass(frozen=True)
class ChartLine:
    """Points that belong together, in their order."""

    points: Sequence[Point]
    said: str
    kind: str = "other"


@dataclass(frozen=True)
class Chart:
    """Marks and lines above a title; `x` and `y` name the axes, with units."""

    title: str
    x: str
    y: str
    marks: Sequence[ChartMark] = ()
    lines: Sequence[ChartLine] = ()
    text: Callable[[float], str] = field(default=lambda value: f"{value:g}")

    @property
    def every(self) -> list[Point]:
        return [m.at for m in self.marks] + [point for line in self.lines for point in line.points]

    @property
    def across(self) -> tuple[float, float]:
        return _around([x for x, _ in self.every])

    @property
    def up(self) -> tuple[float, float]:
        return _around([y for _, y in self.every])

    def place(self, point: Point) -> Point:
        """Where a point lies on a drawing of WIDTH x HEIGHT."""
        (low, high), (least, most) = self.across, self.up
        x = LEFT + (WIDTH - LEFT - RIGHT) * (point[0] - low) / (high - low)
        y = TOP + (HEIGHT - TOP - BOTTOM) * (most - point[1]) / (most - least)
        return x, y

    @property
    def columns(self) -> list[tuple[float, str]]:
        """Ticks of the axis below: where they lie, and what they say."""
        return [(self.place((v, self.up[0]))[0], self.text(v)) for v in ticks(*self.across)]

    @property
    def rows(self) -> list[tuple[float, str]]:
        """Ticks of the axis on the left."""
        return [(self.place((self.across[0], v))[1], f"{v:g}") for v in ticks(*self.up)]

    @property
    def drawn(self) -> list[tuple[str, str, str]]:
        """Of each line: its points as SVG has them, its kind, what is said of it."""
        return [(path(map(self.place, one.points)), one.kind, one.said) for one in self.lines]


def path(points: Iterable[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _around(values: Sequence[float]) -> tuple[float, float]:
    """From a little below the least to a little above the largest."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return low - room, high + room


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between two, about TICKS of them."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(n * power for n in STEPS if n * power >= rough * 0.999)
    first = math.ceil(low / step)
    return [float(f"{n * step:.10g}") for n in range(first, math.floor(high / step) + 1)]
