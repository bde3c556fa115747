"""The judge of parity, fed with liars."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from converters.api import Port, Tensors
from model_defs.errors import BackendUnavailable, BadArtifact
from model_defs.spec import TensorSpec
from toolchain.bundle.manifest import ProofEntry
from toolchain.bundle.parity_report import ParityReport, ParityRow, Question
from toolchain.parity.compare import check, compare, judged, tolerance_of
from toolchain.parity.reference import Reference

SPEC = TensorSpec("y", (1, 2, 4, 8), "map", low=0, high=1, tolerance=0.01)
WANT = np.random.default_rng(0).random(SPEC.shape).astype(np.float32)


def judge(got: np.ndarray | None, *, want: np.ndarray = WANT) -> ParityRow:
    outputs = {} if got is None else {"y": got}
    return compare("liar", "photo", SPEC, want, outputs, 0.01)


def reference(question: Question = "accurate", **changes: Any) -> Reference:
    """What `SPEC` is held to, in two cases."""
    cases = {name: {"x": WANT} for name in ("photo", "noise")}
    expected = {name: {"y": WANT} for name in cases}
    return replace(Reference(cases, expected, (SPEC,), question=question), **changes)


def test_equal_outputs_pass() -> None:
    row = judge(WANT.copy())
    assert row.verdict == "passed"
    assert row.error == 0


def test_the_worst_element_is_named() -> None:
    got = WANT.copy()
    got[0, 1, 2, 3] += 0.5
    row = judge(got)
    assert row.verdict == "failed"
    assert row.error == pytest.approx(0.5)
    assert row.where.startswith("at [0, 1, 2, 3]: expected")
    assert "50 times the tolerance 0.01" in row.note


def test_a_small_error_is_accurate_and_not_faithful() -> None:
    both = replace(reference(), faithful=reference("faithful"))
    rows = check(Fake(lambda x: {"y": WANT + np.float32(0.005)}), both.each)
    verdicts = {(row.case, row.question): row.verdict for row in rows}
    assert verdicts == {
        ("photo", "accurate"): "passed",
        ("photo", "faithful"): "failed",
        ("noise", "accurate"): "passed",
        ("noise", "faithful"): "failed",
    }
    report = ParityReport(rows, ("fake",), ("accurate", "faithful"))
    assert [problem.partition(":")[2][:15] for problem in report.problems] == [
        " not faithful: "
    ] * 2
    assert not report.is_program, "no matter of rounding"


def test_a_backend_runs_once_for_both_questions() -> None:
    asked = []

    def answer(inputs: Tensors) -> dict[str, np.ndarray]:
        asked.append(inputs)
        return {"y": WANT}

    one = reference()
    check(Fake(answer), replace(one, faithful=replace(one, question="faithful")).each)
    assert len(asked) == 2


def test_what_was_asked_and_not_answered_is_a_problem() -> None:
    rows = check(Fake(lambda x: {"y": WANT}), [reference()])
    found = ParityReport(rows, ("fake",), ("accurate", "faithful", "unrounded"))
    assert found.problems == ("nothing was judged faithful", "nothing was judged unrounded")


def one(value: float) -> np.ndarray:
    got = WANT.copy()
    got[0, 0, 1, 1] = value
    return got


@pytest.mark.parametrize(
    ("got", "note"),
    [
        (None, "missing"),
        (np.zeros((0,), np.float32), "empty"),
        (WANT.transpose(0, 2, 3, 1), r"shape (1, 4, 8, 2), not (1, 2, 4, 8)"),
        (WANT.reshape(1, 4, 8, 2), "shape"),
        (WANT[:, :1], "shape"),
        (WANT.astype(np.int32), "int32, not a float type"),
        (one(np.nan), "1 of 64 values are NaN or infinite, first at [0, 0, 1, 1]"),
        (one(np.inf), "NaN or infinite"),
        (np.full_like(WANT, 0.5), "the output is constant"),
        (1 - WANT, "times the tolerance"),
    ],
    ids=str,
)
def test_a_liar_fails_with_its_own_message(got: np.ndarray | None, note: str) -> None:
    row = judge(got)
    assert row.verdict == "failed"
    assert note in row.note


def test_a_constant_within_the_tolerance_fails_all_the_same() -> None:
    want = 0.5 + WANT * 0.001
    assert "constant" in judge(np.full_like(WANT, 0.5), want=want).note


def test_a_constant_reference_proves_nothing() -> None:
    flat = np.full_like(WANT, 0.25)
    assert judge(flat, want=flat).verdict == "skipped"
    assert judge(flat + 0.5, want=flat).verdict == "failed"


def test_a_reference_that_is_not_finite_fails() -> None:
    assert "PyTorch's own" in judge(WANT, want=one(np.nan)).note


def faithful(
    got: np.ndarray, want: np.ndarray = WANT, largest: float = 0.0, own: float = 0.0, **more: Any
) -> ParityRow:
    """The row of an answer that is held to the rounded program, which rounds by `own` itself."""
    free = TensorSpec("y", SPEC.shape, "map", tolerance=0.5)
    first = want.copy()
    first.flat[0] = max(largest, float(want.flat[0]))
    found = Reference(
        {"photo": {}, "flat": {}},
        {"photo": {"y": first}, "flat": {"y": want}},
        (free,),
        question="faithful",
        known_roundings={"flat": {"y": own}},
    )
    return judged("liar", "flat", free, found, {"y": got}, **more)


def test_faithful_is_held_to_some_ulps_of_the_largest_number_and_not_to_the_product() -> None:
    assert tolerance_of(SPEC, WANT, "accurate") == 0.01
    assert tolerance_of(SPEC, WANT, "faithful") == pytest.approx(32 * 2.0**-23, rel=0.01)
    assert faithful(WANT + np.float32(3e-6)).verdict == "passed"
    assert faithful(WANT + np.float32(5e-6)).verdict == "failed"


def test_rounding_on_the_way_to_a_small_output_is_that_of_larger_ones() -> None:
    small = WANT * np.float32(1e-3)
    assert faithful(small + np.float32(1e-6), small).verdict == "failed"
    assert faithful(small + np.float32(1e-6), small, largest=1.0).verdict == "passed"


def test_an_output_that_is_flat_but_for_rounding_may_be_off_by_rounding() -> None:
    step = 2.0**-23  # of float32, at numbers from 1 to 2
    flat = (1.5 + np.round(WANT) * step).astype(np.float32)
    assert np.ptp(flat) == np.float32(step)
    assert faithful(flat[:, :, ::-1], flat).verdict == "passed"
    assert faithful(np.full_like(flat, 1.5), flat).verdict == "passed"
    assert faithful(flat + np.float32(80 * step), flat).verdict == "failed"


def test_faithful_follows_what_a_net_rounds_itself_and_says_so_where_that_is_much() -> None:
    off = WANT + np.float32(0.006)
    assert faithful(off, own=1e-5).verdict == "failed"
    row = faithful(off, own=0.005)
    assert (row.verdict, row.tolerance) == ("passed", pytest.approx(32 * 0.005))
    assert "this net's own rounding is 0.005: smaller errors cannot be seen" in row.note
    quiet = faithful(WANT + np.float32(2e-5), own=1e-6)
    assert (quiet.verdict, quiet.note) == ("passed", "")
    assert faithful(off, own=0.6).verdict == "skipped", "more than the product may be off by"


def test_what_a_file_rounds_again_is_asked_for_only_where_it_has_to_explain_something() -> None:
    asked = []

    def of_file() -> dict[str, float]:
        asked.append(1)
        return {"y": 0.002}

    assert faithful(WANT + np.float32(0.006), of_file=of_file).verdict == "passed"
    assert faithful(WANT + np.float32(0.009), of_file=of_file).verdict == "failed"
    assert len(asked) == 2
    assert faithful(WANT, of_file=of_file).verdict == "passed"
    assert len(asked) == 2


class Fake:
    """A runner that answers with what a function makes of its inputs."""

    backend = "fake"

    def __init__(self, answer: Callable[[Tensors], dict[str, np.ndarray]]) -> None:
        self.run = answer

    def close(self) -> None:
        """Nothing to free."""


def report(answer: Callable[[Tensors], dict[str, np.ndarray]]) -> ParityReport:
    return ParityReport(check(Fake(answer), [reference()]), required=("fake",))


def test_a_report_passes_when_every_case_does() -> None:
    assert report(lambda x: {"y": WANT}).ok


def beside(got: np.ndarray, own: float) -> ParityRow:
    """The accurate row of an answer where PyTorch's own float32 is off by so much."""
    known = {"photo": {"y": own}}
    return judged("liar", "photo", SPEC, reference(known_roundings=known), {"y": got})


def test_what_pytorch_itself_cannot_tell_proves_nothing() -> None:
    row = beside(WANT + 0.5, own=0.4)
    assert row.verdict == "skipped"
    assert "proves nothing" in row.note


@pytest.mark.parametrize(("got", "own"), [(WANT + 0.02, 0.001), (WANT + 0.5, 0.1)])
def test_what_is_off_by_more_than_pytorch_fails(got: np.ndarray, own: float) -> None:
    assert beside(got, own).verdict == "failed"


@pytest.mark.parametrize("got", [np.full_like(WANT, 0.5), one(np.nan), WANT[:, :1]])
def test_no_rounding_excuses_what_is_no_answer(got: np.ndarray) -> None:
    assert beside(got, own=9.0).verdict == "failed"


def test_an_output_too_many_fails() -> None:
    assert "not in the model" in report(lambda x: {"y": WANT, "z": WANT}).problems[0]


def test_swapped_outputs_fail_even_when_the_shapes_agree() -> None:
    other = TensorSpec("z", SPEC.shape, "map", low=0, high=1, tolerance=0.01)
    want = {"y": WANT, "z": 1 - WANT}
    swapped = {"y": want["z"], "z": want["y"]}
    both = Reference({"photo": {}}, {"photo": want}, (SPEC, other))
    rows = check(Fake(lambda x: swapped), [both])
    assert [row.verdict for row in rows] == ["failed", "failed"]


def test_a_backend_that_fails_is_a_failed_row() -> None:
    def crash(inputs: Tensors) -> dict[str, np.ndarray]:
        raise BadArtifact("the file is damaged")

    assert "the file is damaged" in report(crash).problems[0]


def test_a_backend_that_is_not_here_is_skipped_and_does_not_pass() -> None:
    def absent(inputs: Tensors) -> dict[str, np.ndarray]:
        raise BackendUnavailable("no such runtime")

    found = report(absent)
    assert {row.verdict for row in found.rows} == {"skipped"}
    assert found.problems == ("fake: 'y' was skipped in every case",)


def test_a_required_backend_that_never_ran_fails() -> None:
    rows = report(lambda x: {"y": WANT}).rows
    assert ParityReport(rows, required=("fake", "coreml")).problems == ("coreml did not run",)


def test_a_report_in_which_nothing_ran_is_not_ok() -> None:
    assert not ParityReport((), required=()).ok


def test_an_output_missing_on_one_backend_is_a_problem() -> None:
    rows = (
        ParityRow("a", "photo", "y", "passed", 0.0, 0.1),
        ParityRow("a", "photo", "z", "passed", 0.0, 0.1),
        ParityRow("b", "photo", "y", "passed", 0.0, 0.1),
    )
    assert ParityReport(rows, ("a", "b")).problems == ("b: 'z' was not compared",)


def test_a_report_survives_json() -> None:
    found = report(lambda x: {"y": WANT + 0.5})
    assert ProofEntry.model_validate_json(json.dumps(found.to_json())).report == found


class TestPort:
    """NCHW for NHWC with equally many elements must not get through."""

    port = Port.of(TensorSpec("y", (1, 4, 4, 8), "map", tolerance=1), channels_last=True)

    def test_takes_the_stored_layout_back(self) -> None:
        logical = np.random.default_rng(1).random((1, 4, 4, 8)).astype(np.float32)
        stored = self.port.to_stored(logical)
        assert stored.shape == (1, 4, 8, 4)
        np.testing.assert_array_equal(self.port.to_logical(stored), logical)

    def test_refuses_the_other_layout(self) -> None:
        with pytest.raises(BadArtifact, match="layout"):
            self.port.to_logical(np.zeros((1, 4, 4, 8), np.float32))

    def test_refuses_an_input_of_another_shape(self) -> None:
        with pytest.raises(BadArtifact, match="has shape"):
            self.port.to_stored(np.zeros((1, 4, 8, 4), np.float32))
