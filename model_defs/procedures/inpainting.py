"""Inpainting of pictures larger than the net: fill small, enlarge, put back into the picture.

Pictures are (H, W, 3) uint8, masks (H, W) bool, true in the hole. Whatever is done, pixels
outside the mask come out bit by bit as they went in.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_cdt, distance_transform_edt, minimum_filter

from model_defs.errors import BadPicture

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

Network = Callable[[Picture, Mask], Picture]
"""Draws a whole picture from one with a hole, at the same size."""

PASSES = 4
"""How often a mask shrinks at most, where its step is chosen here."""


def inpaint(
    network: Network,
    picture: Picture,
    mask: Mask,
    *,
    size: tuple[int, int] = (512, 680),
    shrink: bool = False,
    twice: bool = False,
    ring: int = 20,
) -> Picture:
    """The picture without the hole, drawn by a network that works at `size` (H, W).

    `shrink` fills from the border inwards, in several passes. `twice` draws details and
    the outer `ring` (in pixels) of holes again, at twice the size. The network is called once
    or once a pass, and once more for `twice`; not at all where the mask is empty.
    """
    if picture.shape[:2] != mask.shape:
        raise BadPicture(
            f"the mask has {mask.shape[1]} x {mask.shape[0]} pixels and the picture "
            f"{picture.shape[1]} x {picture.shape[0]}",
            do="give a mask of the picture's size",
        )
    if not mask.any():
        return picture.copy()
    small, hole = resize(_smeared(picture, mask), size), resize_mask(mask, size)
    drawn = fill_shrinking(network, small, hole) if shrink else fill(network, small, hole)
    if twice:
        drawn = _draw_again(network, _laid_over(picture, drawn, mask), mask, drawn, ring)
    return _laid_over(picture, drawn, mask)


def stitch(picture: Picture, drawn: Picture, mask: Mask) -> Picture:
    """`drawn` inside the mask, `picture` outside."""
    return np.where(mask[..., None], drawn, picture)


def _laid_over(picture: Picture, drawn: Picture, mask: Mask) -> Picture:
    height, width = mask.shape
    return stitch(picture, resize(drawn, (height, width)), mask)


def fill(network: Network, picture: Picture, mask: Mask) -> Picture:
    """One pass; what is inside the hole is hidden from the network."""
    return stitch(picture, network(_without(picture, mask), mask), mask)


def fill_shrinking(
    network: Network, picture: Picture, mask: Mask, step: int | None = None
) -> Picture:
    """As many passes as the hole is deep: each is believed only where it saw enough around it.

    After each pass the mask loses `step` pixels on all sides and what was drawn there is
    taken as known. Beyond the picture's border is known, so that every mask shrinks to
    nothing. By default the step is the smallest that needs no more than PASSES passes.
    """
    step = step or math.ceil(depth(mask) / PASSES)
    while mask.any():
        picture = fill(network, picture, mask)
        mask = erode(mask, step)
    return picture


def _draw_again(
    network: Network, picture: Picture, mask: Mask, drawn: Picture, ring: int
) -> Picture:
    size = 2 * drawn.shape[0], 2 * drawn.shape[1]
    hole = resize_mask(mask, size)
    large = stitch(resize(picture, size), resize(drawn, size), hole)
    return fill(network, large, hole & ~erode(hole, ring))


def erode(mask: Mask, step: int) -> Mask:
    """The pixels of a mask farther than `step` from all others, by a (2 * step + 1)^2 window."""
    eroded: Mask = minimum_filter(mask, 2 * step + 1, mode="constant", cval=0)
    return eroded


def depth(mask: Mask) -> int:
    """How often a mask can be eroded by 1 until it is empty."""
    return int(distance_transform_cdt(np.pad(mask, 1), metric="chessboard").max())


def resize(picture: Picture, size: tuple[int, int]) -> Picture:
    """To (H, W): by area along an axis that shrinks, bicubic along one that grows."""
    for shape in ((size[0], picture.shape[1]), size):
        shrinks = shape[0] * shape[1] < picture.shape[0] * picture.shape[1]
        method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
        picture = np.asarray(Image.fromarray(picture).resize(shape[::-1], method))
    return picture


def resize_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """To (H, W): true wherever a pixel covers any of the mask, of which nothing is lost."""
    return _any_covered(_any_covered(mask, size[0], 0), size[1], 1)


def _any_covered(mask: Mask, count: int, axis: int) -> Mask:
    edges = np.arange(count + 1) * mask.shape[axis]
    starts, ends = edges[:-1] // count, -(-edges[1:] // count)
    zero = np.zeros_like(mask.take([0], axis))
    before = np.cumsum(np.concatenate((zero, mask), axis), axis, dtype=np.int32)
    covered: Mask = before.take(ends, axis) > before.take(starts, axis)
    return covered


def _without(picture: Picture, mask: Mask) -> Picture:
    return np.where(mask[..., None], np.uint8(127), picture)


def _smeared(picture: Picture, mask: Mask) -> Picture:
    """Nearest known pixels in the hole, so that a bicubic filter carries nothing out of it."""
    if mask.all():
        return _without(picture, mask)
    nearest = distance_transform_edt(mask, return_distances=False, return_indices=True)
    return picture[tuple(nearest)]
