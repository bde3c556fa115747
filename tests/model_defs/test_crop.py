"""Smart crop against every window there is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_defs.procedures.crop import CropWindow, crop, largest_size, largest_window, tight_window

maps = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32)).map(
    lambda drawn: np.random.default_rng(drawn[2]).integers(0, 4, drawn[:2])
)
ratios = st.sampled_from([1.0, 16 / 9, 9 / 16, 4 / 3, 0.2, 3.0])


def content(saliency, window):
    rows = slice(window.top, window.top + window.height)
    return saliency[rows, window.left : window.left + window.width].sum()


def every_window(saliency, height, width):
    for top in range(saliency.shape[0] - height + 1):
        for left in range(saliency.shape[1] - width + 1):
            yield CropWindow(left, top, width, height)


@given(maps, ratios)
@settings(max_examples=200, deadline=None)
def test_no_largest_window_holds_more_nor_as_much_nearer_the_centre(saliency, ratio):
    found = largest_window(saliency, ratio)
    height, width = largest_size(saliency.shape, ratio)
    assert (found.height, found.width) == (height, width)

    def off_centre(window):
        return abs(2 * window.left + width - saliency.shape[1]) + abs(
            2 * window.top + height - saliency.shape[0]
        )

    windows = list(every_window(saliency, height, width))
    best = max(content(saliency, window) for window in windows)
    assert content(saliency, found) == best
    nearest = min(off_centre(w) for w in windows if content(saliency, w) == best)
    assert off_centre(found) == nearest


@given(maps, ratios, st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]))
@settings(max_examples=300, deadline=None)
def test_no_window_with_enough_is_smaller_or_as_small_and_fuller(saliency, ratio, share):
    enough = []
    for height in range(1, saliency.shape[0] + 1):
        width = math.ceil(height * ratio)
        for window in every_window(saliency, height, width):
            held = content(saliency, window)
            if held >= share * saliency.sum() - 1e-9:
                enough.append((height * width, -held))
    found = tight_window(saliency, ratio, share)
    if not enough:
        assert found is None
    else:
        assert found is not None
        assert found.width == math.ceil(found.height * ratio)
        assert (found.width * found.height, -content(saliency, found)) == min(enough)


def test_a_flat_map_is_cut_in_the_middle():
    assert largest_window(np.zeros((10, 30)), 1.0) == CropWindow(10, 0, 10, 10)
    assert largest_window(np.full((30, 10), 0.1), 1.0) == CropWindow(0, 10, 10, 10)


@pytest.mark.parametrize("ratio", [1.0, 16 / 9, 9 / 16, 2.35, 0.01, 100.0])
@pytest.mark.parametrize("size", [(3000, 4000), (641, 480), (7, 5)])
def test_a_crop_lies_inside_and_has_the_ratio_to_the_pixel(ratio, size):
    saliency = np.random.default_rng(0).random((30, 40))
    for share in (None, 0.4):
        window = crop(saliency, size, ratio, share)
        assert 0 <= window.left <= size[1] - window.width
        assert 0 <= window.top <= size[0] - window.height
        exact = abs(window.width - window.height * ratio) <= max(1, ratio)
        assert exact or 1 in (window.width, window.height)


def test_a_crop_follows_the_map_at_the_scale_of_the_picture():
    saliency = np.zeros((30, 40))
    saliency[:, 30:33] = 1
    window = crop(saliency, (600, 800), 0.5)
    assert (window.height, window.width) == (600, 300)
    assert window.left <= 600
    assert window.left + window.width >= 660


def test_a_map_of_another_shape_is_stretched_over_the_picture():
    saliency = np.zeros((10, 10))
    saliency[:, 9] = 1
    window = crop(saliency, (100, 400), 1.0)
    assert (window.height, window.width) == (100, 100)
    assert window.left >= 260


def test_a_tight_crop_is_smaller_where_the_saliency_is_in_one_place():
    saliency = np.zeros((30, 40))
    saliency[10:14, 20:24] = 1
    window = crop(saliency, (300, 400), 1.0, share=1.0)
    assert window == CropWindow(200, 100, 40, 40)


def test_without_a_tight_window_the_largest_is_cut():
    saliency = np.ones((30, 40))
    assert tight_window(saliency, 1.0, 1.0) is None
    assert crop(saliency, (300, 400), 1.0, share=1.0) == CropWindow(50, 0, 300, 300)
