"""What is no number is said with the first operation that makes it, and the case that it is of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from converters.capture import capture
from model_defs.errors import BadModule
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.parity import reference
from toolchain.recipes import recipes
from toolchain.recipes.finite import find_origin

SIZE = (1, 2, 4, 4)
X = {"x": np.random.default_rng(0).normal(size=SIZE).astype(np.float32)}


class Norm(nn.Module):
    """Divides nothing by nothing where a picture is flat."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        off = x - x.mean((2, 3), keepdim=True)
        return (off / off.std((2, 3), keepdim=True)).clamp(-3, 3) + 1


class Negative(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.conv.weight.data.fill_(1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        masked = (x.clamp(min=0) - torch.inf).softmax(1).nan_to_num()  # an infinity of no harm
        return self.conv(x.relu() - 9).log() * 2 + masked


def spec_of(module: nn.Module) -> ModelSpec:
    out = TensorSpec("y", SIZE, "features", tolerance=0.1)
    return ModelSpec("net", lambda: module, (TensorSpec("x", SIZE, "features"),), (out,))


@pytest.mark.parametrize(
    ("module", "x", "made"),
    [(Norm(), {"x": np.zeros(SIZE, np.float32)}, "div"), (Negative(), X, "log")],
)
def test_the_first_operation_that_makes_it_is_named_with_its_line(
    module: nn.Module, x: dict[str, np.ndarray], made: str
) -> None:
    found = find_origin(capture(spec_of(module)), x, "y")
    assert found.startswith(f"{made} ({__file__}:")


def test_a_build_ends_with_the_case_that_is_no_number() -> None:
    program = capture(spec_of(Norm()))
    cases = {"noise": X, "zeros": {"x": np.zeros(SIZE, np.float32)}}
    with pytest.raises(BadModule, match="'y' is not finite on case 'zeros': 32 of its 32") as error:
        reference.of_build(recipes.find("fp16"), program, program, cases)
    assert "div" in error.value.where
    assert "clamp" in error.value.do
