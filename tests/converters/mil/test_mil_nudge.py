"""What a package of float16 rounds of the program's own code: single numbers, not weights."""

from __future__ import annotations

import pytest
import torch

from converters.mil.plan import HALF_UNIT, Scope
from converters.mil.types import TensorType


def nudged(number: float, dtype: str = "fp16", shape: tuple[int, ...] = ()) -> list[float]:
    """What a constant of this type may have been, of several draws."""
    found = []
    for seed in range(8):
        scope = Scope("CoreML6", nudge=torch.Generator().manual_seed(seed))
        value = torch.full(shape, number).half().float()
        found.append(float(scope._nudged(value, TensorType(dtype, shape)).flatten()[0]))
    return found


@pytest.mark.parametrize("number", [2 * torch.pi, 1 / 6, 1.702, 0.1, 1e-6])
def test_a_number_may_have_been_half_a_unit_away(number: float) -> None:
    own = float(torch.tensor(number).half())
    found = nudged(number)
    assert min(found) < own < max(found)
    assert min(found) <= number <= max(found)
    assert max(found) - own <= max(HALF_UNIT * own, 2.0**-25) * 1.001


@pytest.mark.parametrize("number", [-1.0, 0.0, 0.25, 6.0, 31.0, float("-inf")])
def test_a_number_of_few_digits_was_not_rounded(number: float) -> None:
    assert set(nudged(number)) == {number}


def test_weights_and_numbers_of_float32_are_as_they_are() -> None:
    third = float(torch.tensor(1 / 3).half())
    assert set(nudged(third, shape=(4,))) == {third}
    assert set(nudged(third, "fp32")) == {third}
