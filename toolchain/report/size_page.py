"""Weighed bundles as a page: a treemap of each one's bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.measure import treemap
from benchmarks.measure.size import SPEEDS, SizeRow
from benchmarks.measure.treemap import Cell
from benchmarks.measure.units import bytes_text
from toolchain.bundle.bundle import Bundle
from toolchain.report.render import render

COLOURS = {"weights": "#3b6ea5", "graph": "#c2703d", "metadata": "#5f8f5a", "padding": "#8a8f98"}
KEYS = {"weights": "weights by layer"} | {kind: kind for kind in COLOURS if kind != "weights"}
"""What each colour means, in words."""


def page(rows: Sequence[tuple[Bundle, SizeRow]]) -> str:
    """A self-contained HTML page with a treemap of each bundle."""
    sections = [_section(found, row) for found, row in rows]
    return render("size.html.j2", sections=sections, keys=KEYS, **_drawing())


def svg(cells: Sequence[Cell]) -> str:
    """A treemap alone; each rectangle has a tooltip, the large ones a label."""
    return render("treemap.svg.j2", cells=treemap.placed(cells), **_drawing())


def _drawing() -> dict[str, Any]:
    return {"colours": COLOURS, "width": treemap.WIDTH, "height": treemap.HEIGHT}


def _section(found: Bundle, row: SizeRow) -> dict[str, Any]:
    way, count = next(iter(row.wire.items()))
    seconds = ", ".join(f"{row.seconds(speed):.1f} s on {speed}" for speed in SPEEDS)
    overhead = f"{row.overhead:.1%} of its bare numbers' {bytes_text(row.ideal)}"
    layers = [Cell(one.name, bytes_text(one.bytes), one.bytes, "weights") for one in row.layers]
    rest = [
        Cell(kind, bytes_text(count), count, kind)
        for kind, count in row.kinds.items()
        if kind != "weights"
    ]
    return {
        "title": f"{found.name} for {found.target}",
        "disk": bytes_text(row.disk),
        "wire": bytes_text(count),
        "facts": f"({way}); {overhead}; {seconds}",
        "cells": treemap.placed([*layers, *rest]),
    }
