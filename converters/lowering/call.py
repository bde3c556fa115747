"""One operation being lowered: what an implementation sees of its node and its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from converters.lowering.graph import Node, Shape
from converters.lowering.tf import Tensor
from converters.lowering.value import Arranged, Order, Value, arrange, as_tensor, channels_last
from model_defs.errors import UnsupportedOperation

Target = Literal["tflite", "tfjs"]


@dataclass(frozen=True)
class Call:
    """A node with its inputs, for a target.

    `results` are the ONNX shapes of its outputs. `arranged` remembers transposes, so that a
    tensor that two operations want in another order is transposed once.
    """

    node: Node
    inputs: tuple[Value | None, ...]
    results: tuple[Shape, ...]
    target: Target
    arranged: Arranged

    def read(self, **defaults: Any) -> Any:
        return self.node.read(**defaults)

    def refuse(self, what: str, *, do: str = "") -> UnsupportedOperation:
        return self.node.refusal(what, do=do)

    @property
    def shape(self) -> Shape:
        """The ONNX shape of the first output."""
        return self.results[0]

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int = 0) -> Value:
        if not self.has(index):
            raise self.refuse(f"input {index} is missing")
        value = self.inputs[index]
        assert value is not None
        return value

    def constant(self, index: int, noun: str) -> np.ndarray:
        """An input that has to be known while converting, in ONNX's order."""
        value = self.value(index)
        if not value.is_constant:
            raise self.refuse(
                f"computes its {noun} while running",
                do=f"make the {noun} a constant: a parameter, a buffer or a Python number",
            )
        return value.logical

    def integers(self, index: int, noun: str) -> tuple[int, ...]:
        return tuple(int(n) for n in self.constant(index, noun).reshape(-1))

    def arrange(self, value: Value, order: Order) -> Value:
        return arrange(value, order, self.arranged)

    def logical(self, index: int = 0) -> Tensor:
        """An input in ONNX's own order."""
        value = self.value(index)
        return as_tensor(self.arrange(value, tuple(range(value.rank))))

    def nhwc(self, index: int = 0) -> Tensor:
        """A feature map as (N, H, W, C)."""
        value = self.value(index)
        if value.rank != 4:
            raise self.refuse(
                f"its input has rank {value.rank}, not (N, C, H, W)",
                do="reshape to two spatial dimensions before it",
            )
        return as_tensor(self.arrange(value, channels_last(4)))


def nhwc(tensor: Tensor) -> Value:
    """A result that is stored as (N, H, W, C)."""
    return Value(tensor, channels_last(4))


Results = Value | tuple[Value, ...]
Attributes = Mapping[str, Any]
