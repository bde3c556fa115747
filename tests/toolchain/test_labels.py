"""Integer and boolean outputs: a few labels may differ, a wrong label map never passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from model_defs.errors import BadSpec
from model_defs.spec import Preprocess, TensorSpec
from toolchain.bundle.parity_report import ParityRow, Question
from toolchain.parity import hints, metrics
from toolchain.parity.compare import LABELS as SHARE
from toolchain.parity.compare import compare, tolerance_of
from toolchain.parity.hints import Evidence

SIZE = 64
LABELS = TensorSpec("labels", (1, SIZE, SIZE), "map", tolerance=0.01, dtype="int64")
MASK = TensorSpec("mask", (1, 1, SIZE, SIZE), "mask", tolerance=0.01, dtype="bool")
TOP = TensorSpec("top", (1, 5), "features", tolerance=0.01, dtype="int64")


def scene() -> np.ndarray:
    """Two large labels, and a small one on half a hundredth of the places."""
    found = np.zeros((1, SIZE, SIZE), np.int64)
    found[:, :, SIZE // 2 :] = 7
    found[:, 3:7, 3:8] = 2
    return found


def judged(
    got: np.ndarray, spec: TensorSpec = LABELS, question: Question = "accurate"
) -> ParityRow:
    want = {"labels": scene, "mask": lambda: scene()[None] == 2, "top": lambda: TOP_5}[spec.name]()
    tolerance = tolerance_of(spec, want, question)
    return compare("backend", "case", spec, want, {spec.name: got}, tolerance)


TOP_5 = np.array([[3, 1, 4, 0, 2]])


def edited(change: Callable[[np.ndarray], Any]) -> np.ndarray:
    found = scene()
    change(found)
    return found


def jagged(labels: np.ndarray) -> None:
    """The edge between the large labels one place further, on every other row."""
    labels[:, ::2, SIZE // 2] = 0


def moved(labels: np.ndarray) -> None:
    labels[:, 3:7, 3:8] = 0
    labels[:, 13:17, 3:8] = 2


@pytest.mark.parametrize("stored", [np.int64, np.int32, np.uint8])
def test_the_same_labels_pass_whatever_the_type_they_are_stored_in(stored: type) -> None:
    row = judged(scene().astype(stored))
    assert (row.verdict, row.error) == ("passed", 0)


def test_ragged_edges_are_within_the_share_that_may_differ() -> None:
    row = judged(edited(jagged))
    assert (row.verdict, row.error) == ("passed", SIZE / 2 / SIZE**2)
    assert row.where == "first at [0, 0, 32]: expected 7, got 0"
    faithful = judged(edited(jagged), question="faithful")
    assert (faithful.verdict, faithful.tolerance) == ("failed", SHARE)
    assert faithful.note == "32 of 4096 differ (0.00781; 0.0001 may)"


LIARS: dict[str, tuple[np.ndarray, str]] = {
    "one too high": (scene() + 1, "4096 of 4096 differ"),
    "all one label": (np.full_like(scene(), 7), "the output is constant"),
    "transposed": (scene().swapaxes(1, 2).copy(), "2048 of 4096 differ|differ"),
    "the small one lost": (edited(lambda x: np.place(x, x == 2, 0)), "label 2 is on 20 places"),
    "the small one renamed": (edited(lambda x: np.place(x, x == 2, 3)), "label 2 is on 20 places"),
    "the small one moved": (edited(moved), "label 2 is on 20 places in PyTorch, 0 of them shared"),
    "one that PyTorch does not have": (
        edited(lambda x: x.__setitem__((0, 40, slice(0, 12)), 5)),
        "label 5 is on 0 places",
    ),
    "floats": (scene().astype(np.float32), "the output is float32, and holds what no int64 does"),
    "another shape": (scene()[:, None], "has shape"),
    "empty": (scene()[:, :0], "the output is empty"),
}


@pytest.mark.parametrize("liar", LIARS)
def test_a_wrong_label_map_never_passes(liar: str) -> None:
    got, said = LIARS[liar]
    row = judged(got)
    assert row.verdict == "failed"
    assert any(part in row.note for part in said.split("|"))


def test_a_mask_may_be_stored_as_integers_of_0_and_1() -> None:
    right = scene()[None] == 2
    assert judged(right, MASK).verdict == "passed"
    assert judged(right.astype(np.int32), MASK).verdict == "passed"
    assert "no bool does" in judged(right.astype(np.int32) * 2, MASK).note
    lost = judged(np.zeros_like(right), MASK)
    assert lost.verdict == "failed"
    assert lost.error is not None
    assert lost.error < 0.01
    assert "label 1 is on 20 places" in lost.note


def test_of_five_labels_none_may_differ() -> None:
    assert judged(TOP_5, TOP).verdict == "passed"
    assert judged(TOP_5[:, ::-1], TOP).verdict == "failed"
    assert judged(np.array([[3, 1, 4, 2, 0]]), TOP).note.startswith("2 of 5 differ")


def test_none_may_differ_where_the_tolerance_is_0() -> None:
    spec = TensorSpec("labels", LABELS.shape, "map", tolerance=0, dtype="int64")
    one = edited(lambda x: x.__setitem__((0, 0, 0), 7))
    assert compare("b", "c", spec, scene(), {"labels": one}, 0.0).verdict == "failed"
    assert compare("b", "c", spec, scene(), {"labels": scene()}, 0.0).verdict == "passed"


def test_a_constant_map_proves_nothing() -> None:
    flat = np.zeros_like(scene())
    row = compare("b", "c", LABELS, flat, {"labels": flat}, 0.01)
    assert (row.verdict, row.note[:8]) == ("skipped", "constant")


def test_metrics_of_labels() -> None:
    found = metrics.measure(LABELS, {}, scene(), edited(lambda x: np.place(x, x == 2, 0)))
    assert found["agreement"] == 1 - 20 / SIZE**2
    assert found["mean IoU"] == pytest.approx((1 + 2028 / 2048 + 0) / 3)
    assert metrics.family(MASK) == "labels"


@pytest.mark.parametrize(
    ("spec", "want", "got", "hint"),
    [
        (MASK, scene()[None] == 7, (scene()[None] == 7)[..., ::-1], "the columns are mirrored"),
        (LABELS, scene(), scene() * 2, "factor"),
    ],
)
def test_hints_are_of_all_labels_equal(
    spec: TensorSpec, want: np.ndarray, got: np.ndarray, hint: str
) -> None:
    found = hints.explain(Evidence(spec, {}, {spec.name: want}, {spec.name: got}, 0.01))
    assert hint in found


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dtype": "float64"}, "unknown dtype 'float64'"),
        ({"dtype": "int64", "tolerance": 1}, "no share of int64"),
        ({"dtype": "bool", "tolerance": -0.1}, "no share of bool"),
        ({"dtype": "int32", "low": 0.5, "high": 3}, "no whole numbers"),
        ({"dtype": "int32", "preprocess": Preprocess()}, "pixels do not become int32"),
        ({"tolerance": 0}, "not positive"),
    ],
)
def test_what_is_said_of_whole_numbers_is_checked(fields: Any, said: str) -> None:
    with pytest.raises(BadSpec, match=said):
        TensorSpec("x", (1, 3, 8, 8), "features", **fields)
