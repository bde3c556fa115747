"""fp16 as declared, weights only, and what is freed on the way."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mil_packages import convert
from torch import Tensor, nn

from converters import mil
from converters.mil.plan import peak_bytes


class Squares(nn.Module):
    """Sums of squares that leave fp16's range, and numbers that fp16 cannot hold."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x * x).mean((1, 2, 3)), x * 0.1 + 1000.0


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> mil.Package:
    path = tmp_path_factory.mktemp("squares") / "squares.mlpackage"
    convert(Squares(), [torch.rand(1, 3, 4, 4)], path, ["mean", "shifted"], "iOS16", "FLOAT16")
    return mil.open_package(path)


def half(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float16).astype(np.float32)


def test_every_declared_fp16_is_rounded(squares: mil.Package) -> None:
    x = np.random.default_rng(0).random((1, 3, 4, 4), np.float32)
    ours = squares.main.run({"in_0": x})["shifted"]
    theirs = half(half(half(x) * half(np.float32(0.1))) + np.float32(1000))
    np.testing.assert_array_equal(ours, theirs)
    assert np.abs(ours - (x * 0.1 + 1000)).max() > 1e-2


def test_weights_only_keeps_float32_between_operations(squares: mil.Package) -> None:
    x = np.random.default_rng(0).random((1, 3, 4, 4), np.float32)
    ours = squares.main.run({"in_0": x}, precision="weights-only")["shifted"]
    np.testing.assert_array_equal(ours, x * half(np.float32(0.1)) + np.float32(1000))


def test_fp16_overflows_where_it_should(squares: mil.Package) -> None:
    x = np.full((1, 3, 4, 4), 300, np.float32)
    assert np.isposinf(squares.main.run({"in_0": x})["mean"]).all()
    exact = squares.main.run({"in_0": x}, precision="weights-only")["mean"]
    np.testing.assert_allclose(exact, 90000)


def test_a_trace_has_every_value_in_its_declared_dtype(squares: mil.Package) -> None:
    trace: dict[str, np.ndarray] = {}
    x = np.random.default_rng(0).random((1, 3, 4, 4), np.float32)
    outputs = squares.main.run({"in_0": x}, trace)
    declared = {
        r.name: r.type
        for o in squares.main.block.operations
        if o.type != "const"
        for r in o.results
    }
    assert set(trace) == set(declared)
    for name, value in trace.items():
        kind = declared[name]
        assert isinstance(kind, mil.TensorType)
        assert value.dtype == kind.numpy
        assert kind.admits(value.shape)
    np.testing.assert_array_equal(trace["mean"], outputs["mean"])


def test_a_float16_package_is_near_its_float32_twin(
    saved: dict[str, Path], image: np.ndarray, truth: np.ndarray
) -> None:
    run = mil.open_package(saved["FLOAT16"]).main.run
    exact = run({"in_0": image})["y"]
    weights_only = run({"in_0": image}, precision="weights-only")["y"]
    assert 1e-6 < np.abs(weights_only - truth).max() < 2e-3
    assert np.abs(weights_only - truth).max() < np.abs(exact - truth).max() < 4e-3


class Chain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for i in range(30):
            x = torch.sin(x * (i + 1.5))
        return x


def test_values_are_freed_after_their_last_use(tmp_path: Path) -> None:
    convert(Chain(), [torch.rand(1, 4, 8, 8)], tmp_path / "c.mlpackage", ["y"])
    interpreter = mil.open_package(tmp_path / "c.mlpackage").main.interpreter()
    one = 4 * 8 * 8 * 4
    assert peak_bytes(interpreter.plan) <= 3 * one
    results: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def observer(_: Any, __: Any, result: Tensor) -> None:
        results.append(weakref.ref(result))
        alive.append(sum(r() is not None for r in results))

    interpreter.observe({"in_0": np.zeros((1, 4, 8, 8), np.float32)}, observer)
    assert len(alive) == 60
    assert max(alive) <= 3


def test_the_number_of_threads_is_put_back(squares: mil.Package) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        squares.main.run({"in_0": np.zeros((1, 3, 4, 4), np.float32)})
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
