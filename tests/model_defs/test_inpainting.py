"""Inpainting procedures: what the network is asked, how often, and what stays untouched."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from math import ceil

import numpy as np
import pytest

from model_defs.errors import BadPicture
from model_defs.procedures.inpainting import (
    depth,
    erode,
    fill_shrinking,
    fit,
    inpaint,
    resize,
    resize_mask,
)


class Painter:
    """Paints everything in one colour, and remembers what it was asked."""

    def __init__(self, colour=200):
        self.colour, self.pictures, self.masks = colour, [], []

    def __call__(self, picture, mask):
        assert picture.shape == (*mask.shape, 3)
        assert picture.dtype == np.uint8
        self.pictures.append(picture)
        self.masks.append(mask)
        return np.full_like(picture, self.colour)


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (200, 260, 3), dtype=np.uint8)


def hole(height, width, size=(200, 260), top=40, left=50):
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    return mask


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("shrink", [False, True])
@pytest.mark.parametrize(
    "mask", [hole(60, 80), hole(200, 260, top=0, left=0), hole(1, 1), hole(30, 260, top=0, left=0)]
)
def test_pixels_outside_the_mask_are_untouched_and_inside_are_painted(picture, mask, shrink, twice):
    before = picture.copy()
    result = inpaint(Painter(), picture, mask, size=(64, 84), shrink=shrink, twice=twice)
    assert (result[~mask] == before[~mask]).all()
    assert (picture == before).all()
    assert abs(int(np.median(result[mask])) - 200) <= 60
    assert result.shape == picture.shape


@pytest.mark.parametrize(
    ("shrink", "twice", "calls"),
    [(False, False, 1), (True, False, 4), (False, True, 2), (True, True, 5)],
)
def test_the_network_is_called_once_a_pass_and_once_more_at_twice_the_size(
    picture, shrink, twice, calls
):
    painter = Painter()
    inpaint(painter, picture, hole(100, 130), size=(64, 84), shrink=shrink, twice=twice)
    sizes = [mask.shape for mask in painter.masks]
    assert len(sizes) == calls
    assert sizes == [(64, 84)] * (calls - twice) + [(128, 168)] * twice


@pytest.mark.parametrize("shape", [(400, 150), (100, 400), (7, 300)])
def test_the_picture_keeps_its_aspect_ratio(shape):
    height, width = fit(shape, (64, 84))
    assert (height, width) == (64, 84) or (height == 64) != (width == 84)
    assert abs(height / width - shape[0] / shape[1]) <= shape[0] / shape[1] / min(height, width)


def test_what_is_left_of_the_frame_repeats_the_border(picture):
    painter = Painter()
    inpaint(painter, picture, hole(60, 210), size=(200, 300))
    (shown,), (mask,) = painter.pictures, painter.masks
    assert (shown[:, :260][~hole(60, 210)] == picture[~hole(60, 210)]).all()
    assert (shown[:, 260:] == shown[:, 259:260]).all()
    assert (mask[:, 260:] == mask[:, 259:260]).all()
    assert mask[50, 299]


@pytest.mark.parametrize(("top", "left"), [(40, 50), (0, 0), (170, 230)])
def test_a_fixed_network_draws_again_in_a_window_around_the_hole(picture, top, left):
    painter, mask = Painter(), hole(30, 30, top=top, left=left)
    before = picture.copy()
    result = inpaint(painter, picture, mask, size=(100, 130), twice=True, ring=10, fixed=True)
    assert [m.shape for m in painter.masks] == [(100, 130)] * 2
    assert (result[~mask] == before[~mask]).all()
    again = painter.masks[1]
    assert again.sum() == 30 * 30 - 10 * 10
    rows, columns = again.nonzero()
    y, x = top - rows.min(), left - columns.min()
    assert (painter.pictures[1][~again] == picture[y : y + 100, x : x + 130][~again]).mean() > 0.98


def test_a_fixed_network_cannot_draw_a_large_hole_again(picture):
    with pytest.raises(BadPicture, match="does not fit into 130 x 100 pixels"):
        inpaint(Painter(), picture, hole(101, 20), size=(100, 130), twice=True, fixed=True)
    inpaint(Painter(), picture, hole(100, 130), size=(100, 130), twice=True, fixed=True)


def test_without_a_hole_nothing_is_asked(picture):
    painter = Painter()
    assert (inpaint(painter, picture, hole(0, 0)) == picture).all()
    assert painter.masks == []


@pytest.mark.parametrize("size", [(64, 84), (200, 260), (300, 300)])
def test_the_network_does_not_see_into_the_hole(picture, size):
    shown = []
    for fill in (0, 255):
        painter = Painter()
        image = picture.copy()
        image[hole(60, 80)] = fill
        inpaint(painter, image, hole(60, 80), size=size, twice=True)
        shown.append(painter.pictures)
    assert all((a == b).all() for a, b in zip(*shown, strict=True))


@pytest.mark.parametrize("side", [15, 31, 63])
@pytest.mark.parametrize(("height", "width"), [(128, 128), (100, 37), (9, 200)])
def test_a_rectangle_takes_as_many_passes_as_windows_fit_into_it(picture, height, width, side):
    painter = Painter()
    mask = hole(height, width)
    fill_shrinking(painter, picture, mask, step=side // 2)
    assert len(painter.masks) == ceil(min(height, width) / (side - 1))
    assert all((after <= before).all() for before, after in pairwise(painter.masks))


def test_every_mask_shrinks_to_nothing(picture):
    random = np.random.default_rng(0)
    for mask in (
        np.ones((200, 260), bool),
        random.random((200, 260)) > 0.1,
        hole(200, 30, top=0, left=0),
    ):
        painter = Painter()
        fill_shrinking(painter, picture, mask)
        assert 1 <= len(painter.masks) <= 4


def test_what_a_pass_drew_is_known_to_the_next(picture):
    painter = Painter(colour=77)
    fill_shrinking(painter, picture, hole(80, 80), step=10)
    drawn = painter.masks[0] & ~painter.masks[1]
    assert (painter.pictures[1][drawn] == 77).all()


def test_a_second_drawing_redoes_rings_and_whole_thin_parts(picture):
    mask = hole(80, 100) | hole(20, 30, top=150, left=200)
    painter = Painter()
    inpaint(painter, picture, mask, size=(100, 130), twice=True, ring=10)
    ring = painter.masks[1]
    inner = np.zeros_like(mask)
    inner[50:110, 60:140] = True
    assert (ring == (mask & ~inner)).all()


@pytest.mark.parametrize("step", [1, 3])
def test_erosion_keeps_pixels_whose_whole_window_is_in_the_mask(step):
    mask = np.random.default_rng(1).random((20, 30)) > 0.05
    padded = np.pad(mask, step)
    expected = [
        [padded[y : y + 2 * step + 1, x : x + 2 * step + 1].all() for x in range(30)]
        for y in range(20)
    ]
    assert (erode(mask, step) == expected).all()


def test_depth_is_the_number_of_erosions_by_one():
    mask = np.random.default_rng(2).random((40, 50)) > 0.01
    passes, left = 0, mask
    while left.any():
        passes, left = passes + 1, erode(left, 1)
    assert depth(mask) == passes


@pytest.mark.parametrize("size", [(7, 9), (13, 40), (64, 84), (300, 90)])
def test_no_part_of_a_mask_is_lost_by_resizing(size):
    for y, x in ((0, 0), (63, 83), (17, 40)):
        mask = np.zeros((64, 84), bool)
        mask[y, x] = True
        covers = np.zeros(size, bool)
        for row in range(size[0]):
            for column in range(size[1]):
                in_row = row * 64 < (y + 1) * size[0] and y * size[0] < (row + 1) * 64
                in_column = column * 84 < (x + 1) * size[1] and x * size[1] < (column + 1) * 84
                covers[row, column] = in_row and in_column
        assert (resize_mask(mask, size) == covers).all()


def test_a_picture_shrinks_by_area_and_grows_smoothly():
    columns = np.arange(8, dtype=np.uint8).repeat(8).reshape(8, 8).T * 30
    picture = np.stack([columns] * 3, 2)
    assert (resize(picture, (4, 4))[..., 0] == [15, 75, 135, 195]).all()
    assert len(np.unique(resize(picture, (32, 32)))) > 16
    assert (resize(picture, (8, 8)) == picture).all()


def test_a_mask_of_another_size_is_refused(picture):
    with pytest.raises(BadPicture, match="30 x 20 pixels and the picture 260 x 200"):
        inpaint(Painter(), picture, np.ones((20, 30), bool))


def test_twelve_megapixels_fit_into_four_gigabytes():
    code = """
import resource, sys, numpy as np
from model_defs.procedures.inpainting import inpaint
picture = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
mask = np.zeros((3000, 4000), bool)
mask[500:1500, 700:2900] = True
result = inpaint(lambda p, m: p // 2, picture, mask, shrink=True, twice=True)
assert (result[~mask] == picture[~mask]).all()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak if sys.platform == "darwin" else peak * 1024)
"""
    printed = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
    assert 100e6 < int(printed.stdout) < 4e9
