"""Which numbers an 8-bit grid should reach: all that were seen, or most of them more finely."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

BINS = 2048

CODES = 255
"""Steps between the lowest and the highest code."""


@dataclass(frozen=True)
class Histogram:
    """Numbers that were seen at a site: from `low` to `high`, counted in bins of one width."""

    low: float
    high: float
    counts: np.ndarray

    @property
    def middles(self) -> np.ndarray:
        width = (self.high - self.low) / len(self.counts)
        return self.low + (np.arange(len(self.counts)) + 0.5) * width


Range = tuple[float, float]


def minmax(seen: Histogram) -> Range:
    """All of them."""
    return seen.low, seen.high


KEPT = 0.9999
"""The share of the numbers within a percentile range, the rest as many on either side."""


def percentile(seen: Histogram) -> Range:
    """All but the outermost."""
    shares = np.cumsum(seen.counts) / max(1, seen.counts.sum())
    first = int(np.searchsorted(shares, (1 - KEPT) / 2))
    last = int(np.searchsorted(shares, (1 + KEPT) / 2))
    width = (seen.high - seen.low) / len(seen.counts)
    return seen.low + first * width, min(seen.high, seen.low + (last + 1) * width)


SHARES = tuple(np.linspace(1.0, 0.3, 29).tolist())
"""Of either end of what was seen, at which a range may end."""


def mse(seen: Histogram) -> Range:
    """With the least mean square of what rounding and clipping change."""
    # An end at 0 stays there: behind a ReLU there is nothing below to clip.
    ends = product(*(SHARES if end else (1.0,) for end in (seen.low, seen.high)))
    ranges = [(seen.low * below, seen.high * above) for below, above in ends]
    return min(ranges, key=lambda ends: _error(seen, *ends))


def _error(seen: Histogram, low: float, high: float) -> float:
    return float(seen.counts @ (_rounded(seen.middles, low, high) - seen.middles) ** 2)


def _rounded(numbers: np.ndarray, low: float, high: float) -> np.ndarray:
    step = max((high - low) / CODES, 1e-30)
    return low + np.rint((numbers.clip(low, high) - low) / step) * step


def kl(seen: Histogram) -> Range:
    """With the least divergence from what was seen, both ends at one share (Migacz 2017)."""
    ranges = [(seen.low * share, seen.high * share) for share in SHARES]
    return min(ranges, key=lambda ends: _divergence(seen, *ends))


def _divergence(seen: Histogram, low: float, high: float) -> float:
    """Kullback and Leibler's, of the codes' numbers, spread evenly over the bins of each code,
    from the numbers clipped to the range. Without those around 0, which every grid has.
    """
    middles = seen.middles
    counts = np.where(np.abs(middles) > middles[1] - middles[0], seen.counts, 0)
    inside = (middles >= low) & (middles <= high)
    if not counts[inside].any():
        return np.inf
    places = np.flatnonzero(inside)
    clipped, kept = counts[inside].copy(), counts[inside]
    clipped[0] += counts[: places[0]].sum()
    clipped[-1] += counts[places[-1] + 1 :].sum()
    # From here on as Migacz has it: quantise the histogram, spread each code evenly over the bins
    # that it stands for and were filled, and compare. Clipped numbers count at the outermost bins,
    # so that a narrow range pays for what it cuts off.
    codes = np.rint((middles[inside] - low) / max((high - low) / CODES, 1e-30)).astype(int)
    filled = kept > 0
    bins = np.bincount(codes, filled, CODES + 2)
    spread = np.where(filled, (np.bincount(codes, kept, CODES + 2) / np.maximum(bins, 1))[codes], 0)
    p, q = clipped / clipped.sum(), np.maximum(spread / spread.sum(), 1e-12)
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())


RANGES: Mapping[str, Callable[[Histogram], Range]] = {
    "percentile": percentile,
    "mse": mse,
    "kl": kl,
    "minmax": minmax,
}
"""By the names that a recipe gives them."""


def merge(several: Sequence[Histogram]) -> Histogram:
    """What was seen at sites that share a grid."""
    if len(several) == 1:
        return several[0]
    # Each site counts alike, however many numbers it has: a large map must not drown a small one.
    low, high = min(s.low for s in several), max(s.high for s in several)
    counts = sum(
        np.histogram(s.middles, BINS, (low, high), weights=s.counts / max(1, s.counts.sum()))[0]
        for s in several
    )
    return Histogram(low, high, np.asarray(counts))
