"""A program in float64: the truth where float32 rounds too much to tell two answers apart."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from converters.api import Program, Tensors
from converters.numbers import LITERALS
from converters.program_graph import tensors_of
from converters.signature import returned

HALF, SINGLE, DOUBLE = torch.float16, torch.float32, torch.float64
UNIT = torch.finfo(HALF).eps / 2
"""What float16 rounds a number by, as a share of it."""
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


PICKS = ("topk", "sort", "argsort", "argmax", "argmin", "max", "min")
"""What says where numbers are by their order."""
TIE = 2.0**-40
"""What tells equals apart, and nothing else, as a share of the largest number."""


class PickingOtherwise(TorchFunctionMode):
    """Of numbers that are equal, or as near as rounding brings them, others are picked.

    PyTorch promises no order among these. The noise of an odd seed is that of the one before it
    turned round: of two equals, one of both picks the other. Values are what they are.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed // 2)
        self._sign = -1 if seed % 2 else 1

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if func.__name__.partition(".")[0] not in PICKS or not _is_picked(args, found):
            return found
        other = func(self._moved(args[0]), *args[1:], **(kwargs or {}))
        return other if isinstance(found, Tensor) else type(found)((found[0], other[1]))

    def _moved(self, scores: Tensor) -> Tensor:
        size = torch.where(scores.isfinite(), scores, 0).abs()
        noise = torch.rand(scores.shape, generator=self._generator, dtype=DOUBLE) * 2 - 1
        tie = TIE * (float(size.max()) or 1.0)
        return scores + self._sign * noise * (NOISE * torch.finfo(SINGLE).eps * size + tie)


SUMS = ("add", "sub", "rsub")
IMPLIED = {"hardsigmoid": 3.0}
"""What operations add to what they read."""


class AddingCoarsely(TorchFunctionMode):
    """Numbers of the code that are added are off by what float16 rounds them by.

    So they are in a file whose converter makes a bias of them: conv(x) + 0.3. Where there is one,
    it rounds the sums, of each channel another: conv(x) + 3.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)
        self._sign = -1 if seed % 2 else 1

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = func.__name__.partition(".")[0].strip("_")
        if name not in (*SUMS, *IMPLIED) or not any(map(_is_floating, args)):
            return func(*args, **(kwargs or {}))
        if name in IMPLIED:
            return func(args[0] + self._noise(args[0], IMPLIED[name]), *args[1:], **(kwargs or {}))
        found = func(*map(self._moved, args), **(kwargs or {}))
        return found + self._noise(found, sum(filter(_is_number, args)))

    def _moved(self, one: Any) -> Any:
        coarse = _is_number(one) and float(np.float16(one)) != one
        return one * (1 + self._sign * UNIT) if coarse else one

    def _noise(self, given: Tensor, size: float) -> Tensor:
        """What float16 rounds such numbers by: (C, 1, 1) of a picture, (C) of features."""
        shape = (given.shape[1], 1, 1) if given.ndim == 4 else given.shape[-1:]
        return (torch.rand(shape, generator=self._generator, dtype=DOUBLE) * 2 - 1) * UNIT * size


def _is_number(one: Any) -> bool:
    return isinstance(one, (int, float)) and not isinstance(one, bool)


def _is_floating(one: Any) -> bool:
    return isinstance(one, Tensor) and one.is_floating_point()


def _is_picked(args: Sequence[Any], found: Any) -> bool:
    """Whether these are places of floats: `max` may be the larger of two numbers, too."""
    places = found if isinstance(found, Tensor) else found[1]
    return args[0].is_floating_point() and not places.is_floating_point()


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


def nudged(module: nn.Module, seed: int, coarse: Collection[str] = ()) -> nn.Module:
    """A copy in float64 whose float32 numbers are off by up to a unit in their last place.

    So are those of any file that folds a norm into a convolution, or multiplies in another order.
    Those that are named `coarse` are off by what float16 rounds them by.
    """
    made = copy.deepcopy(module).double()
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in (*made.named_parameters(), *made.named_buffers()):
        if tensor.is_floating_point():
            unit = UNIT if name in coarse else torch.finfo(SINGLE).eps
            noise = torch.rand(tensor.shape, generator=generator, dtype=DOUBLE) * 2 - 1
            tensor.data = tensor.data * (1 + noise * unit)
    return made


def roundings(
    program: Program, inputs: Tensors, own: Tensors, coarse: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """How far rounding moves each number of the outputs on these inputs, at the most that was seen.

    `coarse` are parameters that a file does not hold themselves, but a product of, in float16, and
    `LITERALS` where it holds sums of the code's own numbers.

    Seen are `own`, the outputs of float32, and those of `DRAWS` copies whose weights are rounded
    otherwise, and which pick others among equals (`PickingOtherwise`); all beside float64. An
    integer or boolean is moved by 1 where one of them is another than PyTorch's own. Of none where
    the user's code does not run in float64.
    """
    try:
        true = _answers(program, copy.deepcopy(program.module).double(), inputs)
        others = [_rounded(program, inputs, seed, coarse) for seed in range(DRAWS)]
    except Exception:  # the user's code, of which float64 is more than was asked
        return {}
    return {
        spec.name: np.max(
            [
                np.abs(other[spec.name] - true[spec.name])
                if spec.is_float
                else other[spec.name] != own[spec.name]
                for other in (own, true, *others)
            ],
            axis=0,
        )
        for spec in program.spec.outputs
    }


def _rounded(
    program: Program, inputs: Tensors, seed: int, coarse: Collection[str]
) -> dict[str, np.ndarray]:
    adding = AddingCoarsely(seed) if LITERALS in coarse else contextlib.nullcontext()
    with PickingOtherwise(seed), adding:
        return _answers(program, nudged(program.module, seed, coarse), inputs)


def _answers(program: Program, wide: nn.Module, inputs: Tensors) -> dict[str, np.ndarray]:
    spec = program.spec
    given = tensors_of(program, inputs)
    found = returned(spec, _called(wide, given))
    return {one.name: y.numpy() for one, y in zip(spec.outputs, found, strict=True)}
