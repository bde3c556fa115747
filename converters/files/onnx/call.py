"""One ONNX node being made into a module: what an implementation sees of it, and returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from converters.lowering.graph import Node, Shape
from model_defs.errors import UnsupportedOperation

Function = Callable[..., Any]
LARGEST_RESULT = 2**28
"""Numbers that a node may write: a file of a few bytes can ask for any."""


class NodeOperation(nn.Module):
    """An operation without numbers of its own, as the module that a node's name stands on."""

    def __init__(self, op: str, function: Function) -> None:
        super().__init__()
        self.op, self.function = op, function

    def forward(self, *operands: torch.Tensor) -> Any:
        return self.function(*operands)

    def extra_repr(self) -> str:
        return self.op


@dataclass(frozen=True)
class Layer:
    """What a node becomes: a module, and which of the node's inputs it is called with.

    `owned` are the inputs whose numbers the module holds itself.
    """

    module: nn.Module
    operands: tuple[int, ...]
    owned: tuple[int, ...] = ()


@dataclass(frozen=True)
class NodeCall:
    """A node with its inputs: of constants the numbers, of others an example of them.

    `wanted` says which outputs anything reads.
    """

    node: Node
    opset: int
    inputs: tuple[torch.Tensor | None, ...]
    constants: frozenset[int] = frozenset()
    wanted: tuple[bool, ...] = field(default=(True,))

    def read(self, **defaults: Any) -> SimpleNamespace:
        return self.node.read(**defaults)

    def refuse(self, what: str, *, do: str = "") -> UnsupportedOperation:
        return self.node.refusal(what, do=do)

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def is_constant(self, *indices: int) -> bool:
        return all(index in self.constants or not self.has(index) for index in indices)

    def value(self, index: int = 0) -> torch.Tensor:
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise self.refuse(f"input {index} is missing")
        return found

    def shape(self, index: int = 0) -> Shape:
        return tuple(self.value(index).shape)

    def rank(self, index: int = 0) -> int:
        return self.value(index).ndim

    def constant(self, index: int, noun: str) -> torch.Tensor:
        """An input whose numbers have to be known when the file is read."""
        value = self.value(index)
        if index not in self.constants:
            raise self.refuse(
                f"computes its {noun} while running", do=f"export it with constant {noun}"
            )
        return value

    def integers(self, index: int, noun: str) -> tuple[int, ...]:
        return tuple(int(n) for n in self.constant(index, noun).reshape(-1).tolist())

    def number(self, index: int, noun: str, default: Any = None) -> Any:
        """A constant of one number, as Python's."""
        if not self.has(index):
            return default
        value = self.constant(index, noun)
        if value.numel() != 1:
            raise self.refuse(f"{value.numel()} numbers as its {noun}, not one")
        return value.reshape(()).item()

    def listed(self, attribute: Sequence[int] | None, index: int, noun: str) -> Any:
        """What an older ONNX has as an attribute, and a newer one as an input; else None."""
        if attribute is not None:
            return tuple(attribute)
        return self.integers(index, noun) if self.has(index) else None

    def axis(self, axis: int, rank: int | None = None) -> int:
        """An axis, counted from the front."""
        rank = self.rank() if rank is None else rank
        if not -rank <= axis < max(rank, 1):
            raise self.refuse(f"axis {axis} of {rank} dimensions")
        return axis + rank if axis < 0 else axis

    def only(self, count: int = 1) -> None:
        """Refuse a node whose outputs after the first `count` are used."""
        if any(self.wanted[count:]):
            raise self.refuse(f"its output {count} is used", do="use only the first output")

    def sized(self, shape: Sequence[int]) -> tuple[int, ...]:
        """A shape, if it is one that memory holds."""
        total = 1
        for n in shape:
            total *= n
        if total > LARGEST_RESULT or min(shape, default=0) < 0:
            raise self.refuse(f"a result of shape {tuple(shape)}")
        return tuple(shape)

    def apply(self, function: Function, /, *operands: int, **settings: Any) -> Layer:
        """A function of some inputs, of all that are there if none is named."""
        chosen = operands or tuple(i for i in range(len(self.inputs)) if self.has(i))
        return Layer(NodeOperation(self.node.op, partial(function, **settings)), chosen)


Implementation = Callable[[NodeCall], Layer]
