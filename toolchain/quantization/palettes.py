"""Palettes of a few numbers for kernels, by k-means."""

from __future__ import annotations

import numpy as np

from converters.encodings import Encoding
from toolchain.quantization.grids import Choose

BINS = 256
"""Of the histogram that shows how dense the numbers lie."""

TURNS = 60
"""Of Lloyd's algorithm, which in one dimension settles in fewer."""


def chooser(bits: int, counts: dict[str, np.ndarray]) -> Choose:
    """Palettes by k-means; `counts` says how much each number of a parameter counts."""

    def choose(name: str, kernel: np.ndarray, axis: int) -> Encoding:
        weights = counts.get(name, np.ones(kernel.shape))
        palette = _with_zero(kernel.ravel(), weights.ravel(), 2**bits)
        return Encoding(f"palette{bits}", palette=tuple(palette.tolist()))

    return choose


def _with_zero(numbers: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """`k_means`, one of whose numbers is zero where more than one in `count` is."""
    others = numbers != 0
    if not others.any() or np.count_nonzero(~others) * count <= numbers.size:
        return k_means(numbers, weights, count)
    return np.sort(np.append(k_means(numbers[others], weights[others], count - 1), np.float32(0)))


def k_means(numbers: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """`count` float16 numbers in order, around which the numbers lie closest, by their weights.

    Lloyd's algorithm on the sorted numbers, where a cluster is a run and its mean a difference
    of running sums. Of three starts the best is kept: clusters evenly filled, evenly spread, and
    as dense as the cube root of the numbers' density (Panter 1951).
    """
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order].astype(np.float64)
    # A trace of weight for all: a cluster of numbers that count for nothing has a mean, too.
    weight = weights[order].astype(np.float64) + 1e-12 * float(weights.max())
    sums = np.concatenate(([0.0], np.cumsum(weight)))
    moments = np.concatenate(([0.0], np.cumsum(weight * ordered)))
    # In one dimension a cluster is a run of the sorted numbers, so its mean is a difference of
    # running sums: a turn costs the palette's size, not the kernel's.
    filled = np.interp(np.linspace(0, sums[-1], 2 * count + 1)[1::2], sums[1:], ordered)
    spread = np.linspace(ordered[0], ordered[-1], count)
    starts = (filled, spread, _dense(ordered, weight, count))
    found = [_settled(start, ordered, sums, moments) for start in starts]
    return min(found, key=lambda palette: _error(palette, ordered, weight))


def _dense(ordered: np.ndarray, weight: np.ndarray, count: int) -> np.ndarray:
    mass, edges = np.histogram(ordered, BINS, weights=weight)
    rising = np.concatenate(([0.0], np.cumsum(np.cbrt(mass))))
    return np.interp(np.linspace(0, rising[-1], 2 * count + 1)[1::2], rising, edges)


def _settled(
    centres: np.ndarray, ordered: np.ndarray, sums: np.ndarray, moments: np.ndarray
) -> np.ndarray:
    for _ in range(TURNS):
        edges = np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        bounds = np.concatenate(([0], edges, [len(ordered)]))
        total = np.diff(sums[bounds])
        means = np.diff(moments[bounds]) / np.maximum(total, 1e-300)
        # An empty cluster stays where it is: numbers may come to it as its neighbours move.
        moved = np.sort(np.where(total > 0, means, centres))
        if np.array_equal(moved, centres):
            break
        centres = moved
    return np.sort(centres.astype(np.float16).astype(np.float32))


def _error(palette: np.ndarray, ordered: np.ndarray, weight: np.ndarray) -> float:
    nearest = palette[np.searchsorted((palette[1:] + palette[:-1]) / 2, ordered)]
    return float((weight * (nearest - ordered) ** 2).sum())
