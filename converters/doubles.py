"""A program in float64: the truth where float32 rounds too much to tell two answers apart."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from converters.api import Program, Tensors
from converters.signature import returned

SINGLE, DOUBLE = torch.float32, torch.float64
DRAWS = 3
NOISE = 4.0
"""An answer may differ from PyTorch's by so many times what rounding moves that: both round."""


class InDouble(TorchFunctionMode):
    """What a net makes in float32, or casts to it, by its own hand is float64."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.float:
            return Tensor.double(*args)
        return _pytree.tree_map(_wide, func(*map(_wide, args), **_wide_values(kwargs or {})))


def _wide_values(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _wide(one) for key, one in kwargs.items()}


def _wide(one: Any) -> Any:
    """A float32 tensor, or the type itself, in float64; all else as it is."""
    if one is SINGLE:
        return DOUBLE
    return one.double() if isinstance(one, Tensor) and one.dtype is SINGLE else one


def call(module: nn.Module, inputs: Sequence[Tensor]) -> Any:
    """What forward returns in float64; the module stays as it is. Raises what forward raises."""
    return _called(copy.deepcopy(module).double(), inputs)


def _called(wide: nn.Module, inputs: Sequence[Tensor]) -> Any:
    with torch.no_grad(), InDouble():
        return wide(*map(_wide, inputs))


def nudged(module: nn.Module, seed: int) -> nn.Module:
    """A copy in float64 whose float32 numbers are off by up to a unit in their last place.

    So are those of any file that folds a norm into a convolution, or multiplies in another order.
    """
    made = copy.deepcopy(module).double()
    generator = torch.Generator().manual_seed(seed)
    for tensor in (*made.parameters(), *made.buffers()):
        if tensor.is_floating_point():
            noise = torch.rand(tensor.shape, generator=generator, dtype=DOUBLE) * 2 - 1
            tensor.data = tensor.data * (1 + noise * torch.finfo(SINGLE).eps)
    return made


def roundings(program: Program, inputs: Tensors, own: Tensors) -> dict[str, float]:
    """How far rounding moves each output of floats on these inputs, at the most that was seen.

    Seen are `own`, the outputs of float32, and those of `DRAWS` copies whose weights are rounded
    otherwise; all beside float64. Of none where the user's code does not run in that.
    """
    try:
        true = _answers(program, copy.deepcopy(program.module).double(), inputs)
        others = [_answers(program, nudged(program.module, seed), inputs) for seed in range(DRAWS)]
    except Exception:  # the user's code, of which float64 is more than was asked
        return {}
    return {
        spec.name: max(
            float(np.abs(other[spec.name] - true[spec.name]).max()) for other in (own, *others)
        )
        for spec in program.spec.outputs
        if spec.is_float
    }


def _answers(program: Program, wide: nn.Module, inputs: Tensors) -> dict[str, np.ndarray]:
    spec = program.spec
    given = [torch.from_numpy(np.ascontiguousarray(inputs[one.name])) for one in spec.inputs]
    found = returned(spec, _called(wide, given))
    return {one.name: y.numpy() for one, y in zip(spec.outputs, found, strict=True)}
