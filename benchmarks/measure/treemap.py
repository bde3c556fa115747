"""Squarified treemaps (Bruls, Huizing and van Wijk 2000): where each rectangle lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 1160, 560
LETTER = 6.4
"""Pixels that a letter of the labels is wide."""


@dataclass(frozen=True)
class Cell:
    """One rectangle's worth: `area` in any unit."""

    label: str
    detail: str
    area: float
    kind: str


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    x: float
    y: float
    width: float
    height: float


def squarify(areas: Sequence[float], box: Box) -> list[Box]:
    """Rectangles that fill the box, near squares, in the order of the areas (descending)."""
    total = sum(areas)
    if not areas or total <= 0:
        return []
    scale = box.width * box.height / total
    scaled, boxes = [area * scale for area in areas], []
    while scaled:
        side = min(box.width, box.height)
        count = _row_length(scaled, side)
        row, scaled = scaled[:count], scaled[count:]
        placed, box = _place(row, box)
        boxes += placed
    return boxes


def _row_length(areas: list[float], side: float) -> int:
    """How many areas belong in one row: as long as the worst aspect ratio improves."""
    count = 1
    while count < len(areas) and _worst(areas[: count + 1], side) <= _worst(areas[:count], side):
        count += 1
    return count


def _worst(row: list[float], side: float) -> float:
    total = sum(row)
    return max(side**2 * max(row) / total**2, total**2 / (side**2 * min(row)))


def _place(row: list[float], box: Box) -> tuple[list[Box], Box]:
    """The row along the shorter side, and what is left of the box."""
    total, placed, offset = sum(row), [], 0.0
    if box.width >= box.height:
        width = total / box.height
        for area in row:
            placed.append(Box(box.x, box.y + offset, width, area / width))
            offset += area / width
        return placed, Box(box.x + width, box.y, max(box.width - width, 1e-9), box.height)
    height = total / box.width
    for area in row:
        placed.append(Box(box.x + offset, box.y, area / height, height))
        offset += area / height
    return placed, Box(box.x, box.y + height, box.width, max(box.height - height, 1e-9))


@dataclass(frozen=True)
class CellLabel:
    """What fits into a rectangle: the end of a name, and a detail or nothing."""

    name: str
    detail: str


def placed(cells: Sequence[Cell]) -> list[tuple[Cell, Box, CellLabel | None]]:
    """The cells that have an area, the largest first, where they lie in the whole drawing."""
    ordered = sorted((c for c in cells if c.area > 0), key=lambda c: -c.area)
    boxes = squarify([c.area for c in ordered], Box(0, 0, WIDTH, HEIGHT))
    return [(c, box, _label(c, box)) for c, box in zip(ordered, boxes, strict=True)]


def _label(cell: Cell, box: Box) -> CellLabel | None:
    """Where the rectangle is large enough for one."""
    letters = int((box.width - 10) / LETTER)
    if letters < 5 or box.height < 32:
        return None
    name = cell.label if len(cell.label) <= letters else "…" + cell.label[1 - letters :]
    return CellLabel(name, cell.detail if len(cell.detail) <= letters else "")
