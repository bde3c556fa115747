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
    wide = copy.deepcopy(module).double()
    with torch.no_grad(), InDouble():
        return wide(*map(_wide, inputs))


def true_answers(program: Program, inputs: Tensors) -> dict[str, np.ndarray]:
    """The outputs of a program in float64, by name. Raises what the user's code raises."""
    spec = program.spec
    given = [torch.from_numpy(np.ascontiguousarray(inputs[one.name])) for one in spec.inputs]
    found = returned(spec, call(program.module, given))
    return {one.name: y.numpy() for one, y in zip(spec.outputs, found, strict=True)}
