"""The task's own measure decides where a specification names one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from model_defs.errors import BadSpec
from model_defs.spec import LARGEST_ERROR, METRICS, TensorSpec
from toolchain.bundle.parity_report import ParityRow
from toolchain.parity.compare import judged
from toolchain.parity.metrics import FAMILIES, used
from toolchain.parity.reference import Reference
from toolchain.quantization import tolerance

SHAPE = (1, 1, 16, 16)


def mask(**fields: Any) -> TensorSpec:
    return TensorSpec("mask", SHAPE, "mask", low=0, high=1, **fields)


def scene() -> np.ndarray:
    """A square of half the picture, its edge undecided by a hair."""
    found = np.full(SHAPE, 0.01, np.float32)
    found[..., 4:12] = 0.99
    return found


def flipped(count: int) -> np.ndarray:
    """So many of the square's 128 pixels are lost."""
    found = scene()
    found[0, 0, :count, 4] = 0.4
    return found


def row_of(spec: TensorSpec, got: np.ndarray) -> ParityRow:
    held = Reference({"photo": {}}, {"photo": {"mask": scene()}}, (spec,))
    return judged("liar", "photo", spec, held, {"mask": got})


def test_one_pixel_that_moves_far_is_no_fault_of_a_mask() -> None:
    assert row_of(mask(tolerance=0.02), flipped(1)).verdict == "failed"
    row = row_of(mask(metric="iou", limit=0.99), flipped(1))
    assert (row.verdict, row.note) == ("passed", "IoU 0.9922, at least 0.99")
    assert (row.error, row.tolerance) == (pytest.approx(1 / 128), pytest.approx(0.01))
    row = row_of(mask(metric="IoU", limit=0.99), flipped(2))
    assert (row.verdict, row.note) == ("failed", "IoU 0.9844, at least 0.99")


def test_with_a_tolerance_both_have_to_hold() -> None:
    both = mask(metric="IoU", limit=0.99, tolerance=0.7)
    assert row_of(both, flipped(1)).verdict == "passed"
    assert row_of(both, flipped(2)).verdict == "failed"
    shifted = scene()
    shifted[0, 0, 0, 4] = 0.2
    row = row_of(both, shifted)
    assert row.verdict == "failed"
    assert "times the tolerance 0.7" in row.note


@pytest.mark.parametrize("got", [np.full(SHAPE, np.nan, np.float32), np.zeros(SHAPE, np.float32)])
def test_no_measure_excuses_what_is_no_answer(got: np.ndarray) -> None:
    assert row_of(mask(metric="IoU", limit=0.01), got).verdict == "failed"


MEASURED: Mapping[str, tuple[float, np.ndarray, np.ndarray]] = {
    "PSNR": (40, scene() + np.float32(0.005), scene() + np.float32(0.02)),
    "AbsRel": (0.05, scene() * np.float32(1.02), scene() * np.float32(1.1)),
}


@pytest.mark.parametrize("name", MEASURED)
def test_decibels_and_what_is_better_the_less_there_is(name: str) -> None:
    limit, good, bad = MEASURED[name]
    spec = TensorSpec("mask", SHAPE, "map", low=0, high=1, metric=name, limit=limit)
    assert row_of(spec, good).verdict == "passed"
    assert row_of(spec, bad).verdict == "failed"


def test_layers_are_weighed_by_it() -> None:
    spec = mask(metric="IoU", limit=0.99)
    assert used(spec, {}, flipped(1), scene()) == pytest.approx(1 / 1.28)
    assert used(spec, {}, flipped(2), scene()) == pytest.approx(2 / 1.28)
    assert used(spec, {}, flipped(2) * np.float32(np.nan), scene()) == np.inf


def test_the_names_are_those_that_can_be_measured() -> None:
    known = {metric.name for found in FAMILIES.values() for metric in found}
    assert METRICS.keys() <= known
    assert known - METRICS.keys() == {"changed outside"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"metric": "iuo", "limit": 0.9}, "unknown metric 'iuo'"),
        ({"metric": "IoU"}, "IoU has no limit"),
        ({"limit": 0.9}, "a limit is of a metric"),
        ({"metric": "IoU", "limit": 1.5}, "limit 1.5 of IoU says nothing"),
        ({"metric": "IoU", "limit": 1.0}, "limit 1.0 of IoU says nothing"),
        ({"metric": "AbsRel", "limit": 0.0}, "limit 0.0 of AbsRel says nothing"),
    ],
)
def test_a_measure_that_says_nothing_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSpec, match=said):
        mask(**fields)


def test_a_measure_is_written_in_one_way() -> None:
    assert mask(metric="boundary f", limit=0.9).metric == "boundary F"
    assert mask(tolerance=0.1).metric == LARGEST_ERROR


def test_a_case_says_something_of_a_file_although_no_tolerance_is_given() -> None:
    """What rounding moves steep edges by is little beside the width of a mask."""
    spec = mask(metric="IoU", limit=0.99)
    rounding = {"photo": {"mask": 3e-5}}
    held = Reference({"photo": {}}, {"photo": {"mask": scene()}}, (spec,), known_roundings=rounding)
    held = replace(held, question="faithful")
    moved = {"mask": scene() + np.float32(1e-4)}
    assert judged("liar", "photo", spec, held, moved).verdict == "passed"
    coarse = replace(held, known_roundings={"photo": {"mask": 0.02}})
    row = judged("liar", "photo", spec, coarse, {"mask": scene() + np.float32(0.03)})
    assert row.verdict == "skipped"


def test_of_several_sizes_one_measure_is_kept() -> None:
    one = (mask(metric="IoU", limit=0.99),)
    assert tolerance.widest(one, one) == one
    both = (mask(metric="IoU", limit=0.99, tolerance=0.1),)
    wider = (replace(both[0], tolerance=0.2),)
    assert tolerance.widest(both, wider) == wider
