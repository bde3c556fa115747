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
from model_defs.procedures.arrays import Mask, Pixels

Network = Callable[[Pixels, Mask], Pixels]
"""Draws a whole picture from one with a hole, at the same size."""

PASSES = 4
"""How often a mask shrinks at most, where its step is chosen here."""


def inpaint(
    network: Network,
    picture: Pixels,
    mask: Mask,
    *,
    size: tuple[int, int] = (512, 680),
    shrink: bool = False,
    twice: bool = False,
    ring: int = 20,
    fixed: bool = False,
) -> Pixels:
    """The picture without the hole, drawn by a network that works at `size` (H, W).

    The picture keeps its aspect ratio: what is left of `size` repeats its border. `shrink`
    fills from the border inwards, in several passes. `twice` draws details and the outer
    `ring` (in pixels) of holes again, at twice the size; a `fixed` network draws no other size
    than `size`, hence all of that must lie in one window of it. The network is called once or
    once a pass, and once more for `twice`; not at all where the mask is empty. Raises
    BadPicture.
    """
    if picture.shape[:2] != mask.shape:
        raise BadPicture(
            f"the mask has {mask.shape[1]} x {mask.shape[0]} pixels and the picture "
            f"{picture.shape[1]} x {picture.shape[0]}",
            do="give a mask of the picture's size",
        )
    if not mask.any():
        return picture.copy()
    fitted = fit((picture.shape[0], picture.shape[1]), size)
    small, hole = resize(_smeared(picture, mask), fitted), resize_mask(mask, fitted)
    draw = framed(network, size)
    drawn = fill_shrinking(draw, small, hole) if shrink else fill(draw, small, hole)
    if twice:
        again = windowed(draw, size) if fixed else framed(network, (2 * size[0], 2 * size[1]))
        drawn = _draw_again(again, _laid_over(picture, drawn, mask), mask, drawn, ring)
    return _laid_over(picture, drawn, mask)


def fit(size: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
    """The largest (H, W) with the aspect ratio of `size` in a frame."""
    scale = min(frame[0] / size[0], frame[1] / size[1])
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width


def framed(network: Network, size: tuple[int, int]) -> Network:
    """The network for pictures up to `size` (H, W): their borders are repeated to fill it."""

    def draw(picture: Pixels, mask: Mask) -> Pixels:
        height, width = mask.shape
        margins = (0, size[0] - height), (0, size[1] - width)
        hole = np.pad(mask, margins, mode="edge")
        return network(np.pad(picture, (*margins, (0, 0)), mode="edge"), hole)[:height, :width]

    return draw


def windowed(network: Network, size: tuple[int, int]) -> Network:
    """The network for larger pictures than `size` (H, W), where one window holds the hole."""

    def draw(picture: Pixels, mask: Mask) -> Pixels:
        found = [_window(mask.any(1 - axis), size[axis]) for axis in (0, 1)]
        if any(part is None for part in found):
            raise BadPicture(
                f"what is drawn again does not fit into {size[1]} x {size[0]} pixels at twice "
                "the size, and this network draws no other size",
                do="draw once, cover less, or use the PyTorch model, which draws any size",
            )
        result = picture.copy()
        part = found[0], found[1]
        result[part] = network(picture[part], mask[part])
        return result

    return draw


def _window(covered: NDArray[np.bool_], length: int) -> slice | None:
    """`length` places around those that are covered, or all if there are fewer; None beyond."""
    (places,) = covered.nonzero()
    if places.size == 0:
        return slice(0, length)
    first, last = int(places[0]), int(places[-1])
    if last - first >= length:
        return None
    start = (first + last + 1 - length) // 2
    start = max(0, min(start, covered.size - length))
    return slice(start, start + length)


def stitch(picture: Pixels, drawn: Pixels, mask: Mask) -> Pixels:
    """`drawn` inside the mask, `picture` outside."""
    return np.where(mask[..., None], drawn, picture)


def _laid_over(picture: Pixels, drawn: Pixels, mask: Mask) -> Pixels:
    height, width = mask.shape
    return stitch(picture, resize(drawn, (height, width)), mask)


def fill(network: Network, picture: Pixels, mask: Mask) -> Pixels:
    """One pass; what is inside the hole is hidden from the network."""
    return stitch(picture, network(_without(picture, mask), mask), mask)


def fill_shrinking(
    network: Network, picture: Pixels, mask: Mask, step: int | None = None
) -> Pixels:
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


def _draw_again(network: Network, picture: Pixels, mask: Mask, drawn: Pixels, ring: int) -> Pixels:
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


def resize(picture: Pixels, size: tuple[int, int]) -> Pixels:
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


def _without(picture: Pixels, mask: Mask) -> Pixels:
    return np.where(mask[..., None], np.uint8(127), picture)


def _smeared(picture: Pixels, mask: Mask) -> Pixels:
    """Nearest known pixels in the hole, so that a bicubic filter carries nothing out of it."""
    if mask.all():
        return _without(picture, mask)
    nearest = distance_transform_edt(mask, return_distances=False, return_indices=True)
    return picture[tuple(nearest)]
