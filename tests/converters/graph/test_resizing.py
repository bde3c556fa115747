"""Resizing by places and matrices: what PyTorch does, at all sizes and scales, in all modes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.graph.captured import capture_graph
from converters.graph.resizing import (
    EXACT,
    LINEAR,
    NEAREST,
    NOT_HELD,
    PICKING,
    SMOOTH,
    asked,
    resized,
)
from converters.graph.rules import FOR_CORE_ML
from converters.graph.sources import packet_of
from model_defs.errors import UnsupportedOperation

aten: Any = torch.ops.aten
SIZES = list(itertools.product(range(1, 10), range(1, 10)))
SCALES = (0.5, 0.7, 1.0, 1.02, 1.05, 1.3, 1.6, 2.0, 3.0)


def _shape(op: Any, have: int) -> tuple[int, ...]:
    """Two channels of pictures, volumes or lines of one side's size, the others of 3."""
    rank = int(op._qualified_op_name.removesuffix("_aa")[-2])
    return (1, 2, *(3,) * (rank - 1), have)


@pytest.mark.parametrize("op", [*LINEAR, *NEAREST, *NOT_HELD], ids=lambda op: op.__name__)
def test_each_mode_is_what_pytorch_makes_of_each_size(op: Any) -> None:
    corners = [[]] if op in NEAREST else [[False], [True]]
    for (have, want), how in itertools.product(SIZES, corners):
        x = torch.rand(_shape(op, have))
        if op in SMOOTH and want == 1:
            continue
        sizes = [2] * (x.ndim - 3) + [want]
        right = op.default(x, sizes, *how)
        torch.testing.assert_close(resized(op)(x, sizes, *how), right, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("op", [*LINEAR, *NEAREST], ids=lambda op: op.__name__)
def test_each_mode_is_what_pytorch_makes_by_each_scale(op: Any) -> None:
    for have, scale in itertools.product(range(2, 12), SCALES):
        x = torch.rand(_shape(op, have))
        given = [None, *([] if op in NEAREST else [False]), [1.3] * (x.ndim - 3) + [scale]]
        right = op.vec(x, *given)
        torch.testing.assert_close(resized(op)(x, *given), right, atol=2e-6, rtol=1e-5)


class Resized(nn.Module):
    def __init__(self, **how: Any) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, **self.how)


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        ({"size": (20, 27)}, PICKING[1]),
        ({"scale_factor": 2.0}, PICKING[1]),
        ({"scale_factor": 2.0, "mode": "nearest-exact"}, PICKING[1]),
        ({"size": (13, 4), "mode": "bilinear"}, LINEAR[1]),
        ({"scale_factor": 2.0, "mode": "bilinear"}, LINEAR[1]),
        ({"scale_factor": 1.3, "mode": "bilinear", "align_corners": True}, LINEAR[1]),
        ({"scale_factor": 1.3, "mode": "bilinear", "recompute_scale_factor": True}, LINEAR[1]),
        ({"scale_factor": 1.3, "mode": "bilinear"}, None),
        ({"scale_factor": 1.3}, None),
        ({"size": (7, 5), "mode": "nearest-exact"}, None),
    ],
)
def test_what_core_ml_does_as_pytorch_stays_one_operation(how: dict[str, Any], kept: Any) -> None:
    """By the sizes alone, or by a scale that float32 holds well enough."""
    x, module = torch.rand(1, 2, 10, 9), Resized(**how).eval()
    captured = capture_graph(module, (x,)).decomposed(FOR_CORE_ML)
    known = (*PICKING, *EXACT, *LINEAR)
    assert [packet_of(n) for n in captured.operations if packet_of(n) in known] == (
        [] if kept is None else [kept]
    )
    torch.testing.assert_close(captured.module(x)[0], module(x), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(("have", "scale"), [(10, 1.3), (10, 0.7), (20, 1.05), (20, 1.15)])
def test_a_scale_that_a_file_rounds_to_another_size_is_left_out(have: int, scale: float) -> None:
    assert not asked(PICKING[0], (1, 1, have), (None, [scale])).is_stored
    assert asked(PICKING[0], (1, 1, have), (None, [2.0])).is_stored


def test_antialias_to_a_width_of_one_is_refused() -> None:
    """PyTorch 2.13 repeats the first row there, which is nothing that anyone meant."""
    x = torch.arange(8.0).reshape(1, 1, 4, 2)
    assert F.interpolate(x, (3, 1), mode="bilinear", antialias=True).unique().numel() == 1
    module = Resized(size=(3, 1), mode="bilinear", antialias=True).eval()
    with pytest.raises(UnsupportedOperation, match="repeats the first row") as error:
        capture_graph(module, (x,))
    assert "test_resizing.py:" in error.value.where
    assert "x.mean(3, keepdim=True)" in error.value.do
