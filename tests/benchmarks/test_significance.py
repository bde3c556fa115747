"""A regression is a ratio and a significance; noise is neither."""

from __future__ import annotations

import random
import statistics

import pytest

from benchmarks.measure.significance import FEWEST, Comparison, P, compare, interval, percentile


def blocks(mean: float, noise: float, seed: int, count: int = 16) -> list[float]:
    random_ = random.Random(seed)
    return [mean * random_.lognormvariate(0, noise) for _ in range(count)]


def test_a_slower_run_is_worse() -> None:
    found = compare(blocks(10, 0.02, 1), blocks(13, 0.02, 2))
    assert found.ratio == pytest.approx(1.3, rel=0.03)
    assert found.worse(1.1)


def test_a_ratio_without_significance_is_not_worse() -> None:
    assert not Comparison(1.5, P * 2).worse(1.1)


def test_significance_without_a_ratio_is_not_worse() -> None:
    found = compare(blocks(10, 0.001, 1), blocks(10.5, 0.001, 2))
    assert found.p < P
    assert not found.worse(1.1)


def test_a_faster_run_is_not_worse() -> None:
    assert not compare(blocks(13, 0.02, 1), blocks(10, 0.02, 2)).worse(1.0)


def test_noise_raises_no_alarm() -> None:
    alarms = sum(
        compare(blocks(10, 0.1, 2 * n), blocks(10, 0.1, 2 * n + 1)).worse(1.1) for n in range(500)
    )
    assert alarms == 0


def test_the_fewest_blocks_can_be_significant() -> None:
    slow, fast = [2.0 + n / 100 for n in range(FEWEST)], [1.0 + n / 100 for n in range(FEWEST)]
    assert compare(fast, slow).worse(1.1)


def test_too_few_blocks_are_refused() -> None:
    with pytest.raises(AssertionError, match="too few"):
        compare([1.0] * FEWEST, [2.0] * (FEWEST - 1))


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    held = 0
    for seed in range(1000):
        low, high = interval(blocks(1, 0.3, seed))
        held += low <= 1 <= high
    assert 945 <= held <= 1000


def test_the_interval_of_few_values_is_their_range() -> None:
    assert interval([3.0, 1.0, 2.0]) == (1.0, 3.0)


def test_percentiles() -> None:
    values = [float(n) for n in range(1, 11)]
    assert percentile(values, 0.9) == 9
    assert percentile(values, 1.0) == 10
    assert percentile([5.0], 0.9) == 5
    assert statistics.median(values) == 5.5
