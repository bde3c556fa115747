"""How an operation is declared: a Python function whose signature is the operation's.

Parameter names are MIL's argument names, defaults are MIL's defaults, annotations say what an
argument is: a Tensor, a scalar (int, float, bool, str), a tuple of scalars, or a tuple of
Tensors where the argument is variadic. Anything else that a program gives is refused.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from model_defs.errors import BadArtifact

Ints = tuple[int, ...]
Bools = tuple[bool, ...]
Tensors = tuple[Tensor, ...]


@dataclass(eq=False)
class StateCell:
    """The memory behind a state, which operations read and write."""

    value: Tensor


@dataclass(frozen=True)
class Op:
    """An operation's implementation and what its results are.

    `gives` is each result's dtype: a MIL dtype, or the name of the argument that has the same
    one, or `=name` of the argument whose text is the dtype. `many`: how many results there are
    depends on the arguments, and the last of `gives` stands for the rest.
    `moves`: each result value is some input value, so that rounding it again changes nothing.
    `reads_data`: the numbers decide the result's shape or the path, so that it cannot be
    foreseen without them.
    """

    run: Callable[..., Any]
    gives: tuple[str, ...] = ("x",)
    many: bool = False
    moves: bool = False
    reads_data: bool = False

    @functools.cached_property
    def parameters(self) -> dict[str, Parameter]:
        hints = typing.get_type_hints(self.run)
        return {
            p.name: Parameter(p.name, _kind(hints[p.name]), p.default is p.empty)
            for p in inspect.signature(self.run).parameters.values()
        }


@dataclass(frozen=True)
class Parameter:
    """A declared argument: what it is and whether a program must give it."""

    name: str
    kind: Any
    required: bool = field(default=True)

    @property
    def variadic(self) -> bool:
        return self.kind == Tensors

    def convert(self, value: Any) -> Any:
        """The value as the implementation takes it; BadArtifact for one of another kind."""
        if self.kind in (Tensor, StateCell, list):
            return self._checked(value, self.kind)
        if self.kind is str:
            return self._checked(value, str)
        if self.kind in (int, float, bool):
            return self._scalar(value)
        element = typing.get_args(self.kind)[0]
        return tuple(element(v) for v in self._checked(value, Tensor).flatten().tolist())

    def _checked(self, value: Any, kind: type) -> Any:
        if not isinstance(value, kind):
            raise BadArtifact(f"argument '{self.name}' is not a {kind.__name__}")
        return value

    def _scalar(self, value: Any) -> Any:
        tensor = self._checked(value, Tensor)
        if tensor.numel() != 1:
            raise BadArtifact(f"argument '{self.name}' has {tensor.numel()} values, not one")
        if self.kind is not float and tensor.is_floating_point():
            raise BadArtifact(f"argument '{self.name}' is not a whole number")
        return self.kind(tensor.item())


def _kind(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        (hint,) = (h for h in typing.get_args(hint) if h is not type(None))
    return hint


def unary(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """An operation of one argument, `x`."""

    def run(x: Tensor) -> Tensor:
        return function(x)

    return run


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """An operation of two arguments, `x` and `y`, that broadcast."""

    def run(x: Tensor, y: Tensor) -> Tensor:
        return function(x, y)

    return run


def channelwise(vector: Tensor, x: Tensor) -> Tensor:
    """A vector of C values shaped to broadcast over `x`, (N, C, *spatial)."""
    return vector.reshape(1, -1, *([1] * (x.dim() - 2)))


def integral(x: Tensor) -> bool:
    return not x.is_floating_point() and x.dtype is not torch.bool
