"""Limits are read with their units; what cannot be meant is refused with an example."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks.measure.budgets import LIMITS, Budget, budget
from benchmarks.measure.units import ms_text
from model_defs.errors import BadConfig, MlshipError, UnknownName
from toolchain.parity.metrics import FAMILIES

METRICS = {metric.name for family in FAMILIES.values() for metric in family}


@pytest.mark.parametrize(
    ("key", "written", "limit"),
    [
        ("wire", "4 MB", 4e6),
        ("wire", "4MiB", 4 * 1024**2),
        ("wire", 4000, 4000),
        ("disk", "1.5 kB", 1500),
        ("latency", "12 ms", 12),
        ("latency", "1.2 s", 1200),
        ("latency_ratio", 1.1, 1.1),
        ("latency_ratio", "1.1x", 1.1),
        ("iou_drop", "1 %", 0.01),
        ("iou_drop", 0.01, 0.01),
        ("psnr", 40, 40),
        ("psnr", "40 dB", 40),
        ("abs_rel", 0.05, 0.05),
        ("duplicates", 0, 0),
    ],
)
def test_limits_in_their_units(key: str, written: Any, limit: float) -> None:
    found = budget(key, written, "error", "here")
    assert found.limit == pytest.approx(limit)
    assert found.level == "error"


@pytest.mark.parametrize(
    ("key", "written", "said"),
    [
        ("wire", "4 MBit", "units: B, kB"),
        ("wire", "four", "is no limit"),
        ("wire", True, "is no limit"),
        ("wire", [4], "is no limit"),
        ("wire", -1, "a number from 0"),
        ("wire", "-4 MB", "a number from 0"),
        ("wire", math.nan, "a number from 0"),
        ("wire", math.inf, "a number from 0"),
        ("latency", 12, "is no limit"),
        ("iou_drop", "1 dB", "units: %"),
        ("latency_ratio", 0.9, "below 1"),
        ("psnr", {"level": "warn"}, "without a limit"),
        ("psnr", {"limit": 40, "levle": "warn"}, "'levle' is no part"),
        ("psnr", {"limit": 40, "level": "loud"}, "level is 'loud'"),
    ],
)
def test_what_is_no_limit_is_refused(key: str, written: Any, said: str) -> None:
    with pytest.raises(BadConfig, match=said) as caught:
        budget(key, written, "error", "mlship.toml: [budgets]")
    assert caught.value.where == "mlship.toml: [budgets]"


def test_an_unknown_key_is_told_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        budget("iou_dorp", "1 %", "error", "mlship.toml: [budgets]")
    assert "did you mean 'iou_drop'" in caught.value.do
    assert caught.value.where == "mlship.toml: [budgets]"


def test_a_level_of_its_own() -> None:
    assert budget("psnr", {"limit": 40, "level": "warn"}, "error", "").level == "warn"


def test_at_most_and_at_least() -> None:
    assert budget("wire", 10, "error", "").keeps(10)
    assert not budget("wire", 10, "error", "").keeps(11)
    assert budget("psnr", 40, "error", "").keeps(40)
    assert not budget("psnr", 40, "error", "").keeps(39.9)


@pytest.mark.parametrize("key", LIMITS)
def test_nan_keeps_no_budget(key: str) -> None:
    assert not Budget(key, 1.0, "error", "1").keeps(math.nan)


@pytest.mark.parametrize("key", [k for k, limit in LIMITS.items() if limit.metric])
def test_a_limit_of_a_metric_names_one_that_is_measured(key: str) -> None:
    assert LIMITS[key].metric in METRICS


def test_every_limit_shows_its_example() -> None:
    for key, limit in LIMITS.items():
        example = limit.unit.example.strip('"')
        written: Any = example if limit.unit.example.startswith('"') else float(example)
        found = budget(key, written, "error", "")
        assert found.show(found.limit)


def test_errors_are_the_user_s() -> None:
    assert issubclass(BadConfig, MlshipError)
    assert BadConfig.exit_code == 2


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0.005934, "0.00593"), (0.5, "0.5"), (0, "0.00"), (7.126, "7.13"), (93.0, "93.00")],
)
def test_microseconds_are_ms_text(ms: float, text: str) -> None:
    assert ms_text(ms) == text
