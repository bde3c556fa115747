"""Smart crop: the window of a given ratio that holds the most of a saliency map.

Ratios are width / height, maps (H, W) and not negative. Sums are in float64: float32 prefix
sums lose 1e-6 at 1080p.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-12
"""Sums that differ by less than this share of the total count as equal."""


@dataclass(frozen=True)
class CropWindow:
    """Rows top to top + height - 1 and columns left to left + width - 1."""

    left: int
    top: int
    width: int
    height: int


def crop(
    saliency: NDArray, size: tuple[int, int], ratio: float, share: float | None = None
) -> CropWindow:
    """The window to cut from a picture of `size` (H, W), all of which the map covers.

    The largest of that ratio, or the smallest that holds a `share` of the saliency, where one
    does. Its ratio is right to the pixel, whatever the map's size.
    """
    rows, columns = size[0] / saliency.shape[0], size[1] / saliency.shape[1]
    on_map = largest_window(saliency, ratio * rows / columns)
    bounds = size
    if share is not None and (tight := tight_window(saliency, ratio * rows / columns, share)):
        on_map, bounds = tight, (max(1, round(tight.height * rows)), size[1])
    height, width = largest_size(bounds, ratio)
    left, top = math.floor(on_map.left * columns), math.floor(on_map.top * rows)
    return CropWindow(min(left, size[1] - width), min(top, size[0] - height), width, height)


def largest_size(size: tuple[int, int], ratio: float) -> tuple[int, int]:
    """The largest (height, width) of a ratio that fits into (H, W)."""
    height, width = size
    if width / height >= ratio:
        return height, max(1, min(width, round(height * ratio)))
    return max(1, min(height, round(width / ratio))), width


def largest_window(saliency: NDArray, ratio: float) -> CropWindow:
    """Of the largest windows of a ratio the one with the most saliency; else nearest the centre.

    One side is the map's own, so that the window slides along one axis only.
    """
    rows, columns = saliency.shape
    height, width = largest_size((rows, columns), ratio)
    along_x = height == rows
    strip = saliency.sum(0 if along_x else 1, dtype=np.float64)
    offset = _best_offset(strip, width if along_x else height)
    return CropWindow(*((offset, 0) if along_x else (0, offset)), width, height)


def _best_offset(strip: NDArray[np.float64], length: int) -> int:
    sums = _window_sums(strip, length)
    best = np.flatnonzero(sums >= sums.max() - ROUNDING * strip.sum())
    centre = (len(strip) - length) / 2
    return int(best[np.argmin(np.abs(best - centre))])


def _window_sums(strip: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    prefix = np.concatenate(([0.0], np.cumsum(strip)))
    sums: NDArray[np.float64] = prefix[length:] - prefix[:-length]
    return sums


def tight_window(saliency: NDArray, ratio: float, share: float) -> CropWindow | None:
    """The smallest window of a ratio that holds a share of the saliency; of equals, the fullest.

    Its width is height * ratio, rounded up. None where no window that fits holds enough.
    The two pointers over rows of Chen 2016 (section 4), O(H * W): for each first row the fewest
    rows that are enough; a window that starts lower never ends higher.
    """
    rows = np.cumsum(np.pad(saliency, ((1, 0), (0, 0))), 0, dtype=np.float64)
    enough = (share - ROUNDING) * rows[-1].sum()
    best, best_area, best_sum = None, math.inf, -math.inf
    first, last = 0, 0
    while last < saliency.shape[0]:
        height = last - first + 1
        width = math.ceil(height * ratio)
        if width > saliency.shape[1]:
            first, last = first + 1, max(last, first + 1)
            continue
        sums = _window_sums(rows[last + 1] - rows[first], width)
        left = int(np.argmax(sums))
        if sums[left] < enough:
            last += 1
            continue
        if (height * width, -sums[left]) < (best_area, -best_sum):
            best = CropWindow(left, first, width, height)
            best_area, best_sum = height * width, float(sums[left])
        first, last = first + 1, max(last, first + 1)
    return best
