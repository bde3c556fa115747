"""A tool's outputs are paired as it declares; nothing wrong, missing or misplaced passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.studies.peers import judge as judging
from benchmarks.studies.peers.judge import DoubleReference, judge, truth, worst
from benchmarks.studies.peers.tools import TOOLS
from model_defs.errors import BadArtifact
from model_defs.spec import ModelSpec, TensorSpec

SHAPE = (1, 2, 3, 4)
X = np.arange(24, dtype=np.float32).reshape(SHAPE)
SPEC = ModelSpec(
    "twice",
    lambda: None,  # type: ignore[arg-type,return-value]
    (TensorSpec("x", SHAPE, "features"),),
    (
        TensorSpec("y", SHAPE, "features", tolerance=1),
        TensorSpec("z", SHAPE, "features", tolerance=1),
    ),
)
KNOWN = DoubleReference(SPEC, {"x": X}, {"y": 2.0 * X, "z": 3.0 * X})
NAMED = replace(TOOLS["mlship"], channels_last=False)
ORDERED = replace(NAMED, named=False)
NUMBERED = replace(NAMED, numbered="Identity")
NUMBERS = ("Identity_1", "Identity")
Fed = Callable[[np.ndarray], dict[str, np.ndarray]]


def stub(monkeypatch: pytest.MonkeyPatch, fed: Fed, inputs: tuple[str, ...], *outputs: str) -> None:
    """Puts a file that computes `fed` in place of every process."""

    class Process:
        def __init__(self, entry: Any) -> None:
            self.started = {"inputs": inputs, "outputs": outputs}

        def feed(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return fed(tensors[inputs[0]])

        def close(self) -> None: ...

    monkeypatch.setattr(judging, "Process", Process)


def test_names_are_paired_whatever_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, lambda x: {"z": 3 * x, "y": 2 * x}, ("x",), "z", "y")
    assert judge(NAMED, Path(), KNOWN)[0] == 0


def test_order_is_paired_whatever_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, lambda x: {"b": 2 * x, "a": 3 * x}, ("arg",), "b", "a")
    error, fed = judge(ORDERED, Path(), KNOWN)
    assert error == 0
    assert list(fed) == ["arg"]


def test_swapped_outputs_are_an_error_and_no_match_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stub(monkeypatch, lambda x: {"a": 3 * x, "b": 2 * x}, ("arg",), "a", "b")
    assert judge(ORDERED, Path(), KNOWN)[0] == pytest.approx(0.5)


def test_numbers_are_paired_in_the_order_of_the_specification(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stub(monkeypatch, lambda x: {"Identity_1": 3 * x, "Identity": 2 * x}, ("x",), *NUMBERS)
    assert judge(NUMBERED, Path(), KNOWN)[0] == 0
    stub(monkeypatch, lambda x: {"z": 3 * x, "y": 2 * x}, ("x",), "z", "y")
    assert judge(NUMBERED, Path(), KNOWN)[0] == 0


@pytest.mark.parametrize("names", [("Identity_1", "Other"), ("Identity",), ("y", "Identity")])
def test_numbers_of_something_else_are_refused(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    stub(monkeypatch, lambda x: dict.fromkeys(names, x), ("x",), *names)
    with pytest.raises(BadArtifact, match="outputs are"):
        judge(NUMBERED, Path(), KNOWN)


def test_doubled_outputs_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, lambda x: {"y": 4 * x, "z": 6 * x}, ("x",), "y", "z")
    assert judge(NAMED, Path(), KNOWN)[0] == pytest.approx(1.0)


def test_other_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, lambda x: {"y": 2 * x, "w": 3 * x}, ("x",), "y", "w")
    with pytest.raises(BadArtifact, match="outputs are y, w, not y, z"):
        judge(NAMED, Path(), KNOWN)


def test_a_missing_output_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, lambda x: {"y": 2 * x}, ("arg",), "y")
    with pytest.raises(BadArtifact, match="outputs are y, not y, z"):
        judge(ORDERED, Path(), KNOWN)


def test_another_layout_than_declared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def transposed(x: np.ndarray) -> dict[str, np.ndarray]:
        return {"y": 2 * x.transpose(0, 2, 3, 1), "z": 3 * x.transpose(0, 2, 3, 1)}

    stub(monkeypatch, transposed, ("x",), "y", "z")
    with pytest.raises(BadArtifact, match="came out as"):
        judge(NAMED, Path(), KNOWN)


def test_channels_last_goes_in_and_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, lambda x: {"y": 2 * x, "z": 3 * x}, ("x",), "y", "z")
    error, fed = judge(replace(NAMED, channels_last=True), Path(), KNOWN)
    assert error == 0
    assert fed["x"].shape == (1, 3, 4, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(BadArtifact, match="not finite"):
        worst({"y": np.array([1.0, value])}, {"y": np.array([1.0, 2.0])})


def test_the_worst_output_counts_as_a_share_of_its_own_range() -> None:
    want = {"small": np.array([0.0, 0.1]), "large": np.array([0.0, 100.0])}
    found = {"small": np.array([0.0, 0.11]), "large": np.array([1.0, 100.0])}
    assert worst(found, want) == pytest.approx(0.1)


def test_the_truth_is_in_double_precision_on_inputs_that_were_not_traced() -> None:
    from benchmarks.studies.peers.subjects import given

    known = truth("portrait-head")
    spec, module, traced = given("portrait-head")
    assert {y.dtype for y in known.outputs.values()} == {np.dtype(np.float64)}
    assert list(known.inputs) == [t.name for t in spec.inputs]
    assert not np.array_equal(known.inputs[spec.inputs[0].name], traced[0].numpy())
    assert module.training is False
