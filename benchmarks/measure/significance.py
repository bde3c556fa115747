"""When a latency is worse than another, and how well a median is known."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

P = 0.002
"""The largest probability of chance that counts as a regression: asv's rule."""
FEWEST = 7
"""Blocks on each side below which no order of them is as rare as P."""

CONFIRMATIONS = 2
"""How often what seems slower is timed again, in new processes, before it is called slower."""


class Judged(Protocol):
    """Something timed that is called slower, or not."""

    @property
    def worse(self) -> bool: ...


T = TypeVar("T", bound=Judged)


@dataclass(frozen=True)
class Comparison:
    """`ratio` of the medians, after over before, and the one-sided `p` of Mann and Whitney."""

    ratio: float
    p: float

    def worse(self, limit: float) -> bool:
        """Slower than the limit allows, and not by chance: both."""
        return self.ratio > limit and self.p < P


def compare(before: Sequence[float], after: Sequence[float]) -> Comparison:
    """Compare two runs by their blocks. Each needs FEWEST of them, all above 0.

    Blocks and not single runs: runs of one block share the machine's mood, and a test that took
    them for independent would find every mood significant.
    """
    from scipy.stats import mannwhitneyu

    assert min(len(before), len(after)) >= FEWEST, "too few blocks to tell chance from change"
    ratio = statistics.median(after) / statistics.median(before)
    found = mannwhitneyu(after, before, alternative="greater")
    return Comparison(ratio, float(found.pvalue))


def confirmed(
    first: Mapping[str, T], again: Callable[[list[str]], Mapping[str, T]]
) -> dict[str, T]:
    """By names, with those that seem slower timed `again` until they do not, or are."""
    found = dict(first)
    for _ in range(CONFIRMATIONS):
        if slow := [name for name, one in found.items() if one.worse]:
            found |= again(slow)
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed."""
    ordered = sorted(values)
    index = -int(-share * len(ordered) // 1) - 1
    return ordered[min(max(index, 0), len(ordered) - 1)]


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Between which values the median lies, from order statistics: no distribution is assumed.

    The whole range where there are too few values for the confidence.
    """
    from scipy.stats import binom

    ordered = sorted(values)
    count = len(ordered)
    index = max(int(binom.ppf((1 - confidence) / 2, count, 0.5)) - 1, 0)
    return ordered[index], ordered[count - 1 - index]
