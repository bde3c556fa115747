"""Treemaps: areas are kept, nothing overlaps, nothing is very thin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measure.treemap import Box, Cell, squarify
from toolchain.report.size_page import svg

BOX = Box(0, 0, 600, 400)
areas = st.lists(st.floats(1, 1000), min_size=1, max_size=40).map(lambda a: sorted(a)[::-1])


@given(areas)
def test_areas_are_kept(sizes: list[float]) -> None:
    boxes = squarify(sizes, BOX)
    scale = BOX.width * BOX.height / sum(sizes)
    np.testing.assert_allclose([b.width * b.height for b in boxes], np.array(sizes) * scale)


@given(areas)
def test_boxes_fill_the_plane_without_overlap(sizes: list[float]) -> None:
    boxes = squarify(sizes, BOX)
    for index, a in enumerate(boxes):
        assert a.x >= -1e-6
        assert a.x + a.width <= 600 + 1e-6
        assert a.y + a.height <= 400 + 1e-6
        for b in boxes[index + 1 :]:
            across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
            down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
            assert min(across, down) <= 1e-6


def test_equal_areas_become_near_squares() -> None:
    ratios = [max(b.width / b.height, b.height / b.width) for b in squarify([1.0] * 24, BOX)]
    assert max(ratios) < 2


def test_nothing_gives_nothing() -> None:
    assert squarify([], BOX) == []
    assert "<rect" not in svg([])


@pytest.mark.parametrize("label", ["<script>", 'a"b', "a&b"])
def test_labels_are_escaped(label: str) -> None:
    text = svg([Cell(label, "1 kB", 1, "weights")])
    assert label not in text
