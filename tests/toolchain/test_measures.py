"""The task's own measure decides where a specification names one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from converters.api import Program
from converters.capture import capture
from model_defs.errors import BadSpec
from model_defs.spec import LARGEST_ERROR, METRICS, ModelSpec, TensorSpec
from toolchain.bundle.parity_report import ParityRow
from toolchain.debug.stages import of_passes
from toolchain.evaluation.score import LIKENESS, find_scorer
from toolchain.parity.compare import judged
from toolchain.parity.metrics import FAMILIES, measure, used
from toolchain.parity.reference import Reference
from toolchain.passes.base import Pass
from toolchain.quantization import tolerance
from toolchain.search.search import Memory

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


class Bar(nn.Module):
    """Lights the right of a picture, as far as its bias says."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ramp = torch.linspace(-1, 1, 16).expand(1, 1, 16, 16)
        return (8 * (ramp + self.bias) + 0 * x.mean()).sigmoid()


def bar(*outputs: TensorSpec, bias: float = 0.0) -> Program:
    image = TensorSpec("image", (1, 3, 16, 16), "image", low=0, high=1)
    return capture(ModelSpec("bar", lambda: Bar(bias).eval(), (image,), outputs))


def test_programs_are_scored_by_the_measure_that_a_model_names() -> None:
    model = bar(mask(metric="IoU", limit=0.9))
    scorer = find_scorer(model, 4)
    assert (scorer.metric.name, scorer.metric.higher) == ("IoU to the model", True)
    base = scorer.score(model)
    assert base.value == 1
    lost = base.drop(scorer.score(replace(model, module=Bar(-0.25).eval())))
    assert lost == pytest.approx(2 / 8)  # two of the eight columns that were lit


def test_outputs_of_several_measures_are_scored_by_likeness() -> None:
    assert find_scorer(bar(mask(tolerance=0.1)), 4).metric == LIKENESS
    less = find_scorer(bar(mask(metric="AbsRel", limit=0.1)), 4)
    assert not less.metric.higher


def test_a_measure_that_does_not_apply_is_an_error() -> None:
    scorer = find_scorer(bar(mask(metric="hole PSNR", limit=30)), 4)
    with pytest.raises(BadSpec, match="hole PSNR does not apply"):
        scorer.score(scorer.model)  # type: ignore[attr-defined]


def test_what_was_scored_by_another_measure_is_scored_again() -> None:
    by = [Memory(bar(mask(metric=name, limit=0.9))).path for name in ("IoU", "boundary F")]
    assert by[0] != by[1]
    assert by[0] == Memory(bar(mask(metric="iou", limit=0.9))).path


def test_ci_may_limit_the_measure_of_any_output() -> None:
    spec = TensorSpec("edges", SHAPE, "map", low=0, high=1, metric="IoU", limit=0.9)
    assert set(measure(spec, {}, scene(), flipped(1))) == {"IoU", "PSNR"}


def test_an_error_is_counted_in_what_may_be_seen() -> None:
    assert mask(tolerance=0.3).noticeable == 0.3
    assert mask(metric="IoU", limit=0.9).noticeable == pytest.approx(0.01)
    unbounded = TensorSpec("depth", SHAPE, "map", metric="AbsRel", limit=0.1)
    assert unbounded.noticeable is None


def test_blame_judges_a_pass_by_the_measure() -> None:
    class Moves(Pass):
        name: ClassVar[str] = "moves"
        exact: ClassVar[bool] = False

        def __init__(self, bias: float) -> None:
            self.bias = bias

        def __call__(self, program: Program) -> Program:
            return replace(program, module=Bar(self.bias).eval())

    program = bar(mask(metric="IoU", limit=0.9))
    inputs = {"image": np.zeros((1, 3, 16, 16), np.float32)}
    (near,), _ = of_passes(program, [Moves(-0.01)], inputs)
    (far,), _ = of_passes(program, [Moves(-0.25)], inputs)
    assert (near.parted, far.parted) == (False, True)
    assert (far.error, far.tolerance) == (pytest.approx(0.25), pytest.approx(0.1))
