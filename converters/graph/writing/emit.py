"""One operation being written as ONNX: what a rule sees of its node, and what it may emit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import fx

from converters.graph.sources import module_of, operation_of, user_line
from model_defs.errors import UnsupportedOperation

TYPES = {
    torch.float32: TensorProto.FLOAT,
    torch.float64: TensorProto.DOUBLE,
    torch.float16: TensorProto.FLOAT16,
    torch.int64: TensorProto.INT64,
    torch.int32: TensorProto.INT32,
    torch.int8: TensorProto.INT8,
    torch.uint8: TensorProto.UINT8,
    torch.int16: TensorProto.INT16,
    torch.bool: TensorProto.BOOL,
}


@dataclass
class Sheet:
    """An ONNX graph that is being written: its nodes, its constants, the names in use."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    known: dict[tuple[Any, ...], str] = field(default_factory=dict)
    values: dict[fx.Node, Any] = field(default_factory=dict)
    """The name, or the names, of what each node of the captured graph gives."""

    def unique(self, name: str) -> str:
        number, found = 0, name
        while found in self.names:
            number += 1
            found = f"{name}_{number}"
        self.names.add(found)
        return found

    def store(self, name: str, array: np.ndarray) -> str:
        """A constant of this name, which must be free; the numbers are not copied."""
        self.constants[name] = array
        return name


@dataclass(frozen=True)
class Emission:
    """A node of the captured graph that is being written.

    Arguments are read by place or by name, as ATen's schema has them; those that are tensors
    are turned into names of ONNX values by `name`.
    """

    node: fx.Node
    sheet: Sheet

    @property
    def path(self) -> str:
        return module_of(self.node).replace(".", "/")

    @property
    def result(self) -> torch.Tensor:
        """The shape and type of the (first) result."""
        value = self.node.meta["val"]
        return value if isinstance(value, torch.Tensor) else value[0]

    def arg(self, place: int, name: str = "", default: Any = None) -> Any:
        """An argument as the captured graph has it: a node, a number, a list or None."""
        if place < len(self.node.args):
            return self.node.args[place]
        return self.node.kwargs.get(name, default)

    def tensor(self, place: int = 0) -> torch.Tensor:
        """The shape and type of an argument."""
        return shape_of(self.node.args[place])

    def name(self, value: Any, dtype: torch.dtype | None = None) -> str:
        """The ONNX name of a node's value or of a number, cast to a type where asked."""
        if value is None:
            return ""
        if not isinstance(value, fx.Node):
            return self.constant(np.asarray(value, numpy_type(dtype or default_type(value))))
        name: str = self.sheet.values[value]
        have = shape_of(value).dtype
        return name if dtype is None or dtype is have else self.cast(name, dtype)

    def input(self, place: int = 0, dtype: torch.dtype | None = None) -> str:
        """The ONNX name of an argument."""
        return self.name(self.arg(place), dtype)

    def cast(self, name: str, dtype: torch.dtype) -> str:
        return self.emit("Cast", name, to=TYPES[dtype])

    def constant(self, array: np.ndarray) -> str:
        """A constant, shared with others of the same numbers where it is small."""
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 64 else None
        if key is not None and key in self.sheet.known:
            return self.sheet.known[key]
        name = self.sheet.store(
            self.sheet.unique(f"/{self.path}/Constant".replace("//", "/")), array
        )
        if key is not None:
            self.sheet.known[key] = name
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def emit(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Write an operation with one result."""
        return self.emit_all(operation, inputs, 1, **attributes)[0]

    def emit_all(
        self, operation: str, inputs: Sequence[str], count: int, **attributes: Any
    ) -> tuple[str, ...]:
        """Write an operation; attributes of None are left out."""
        name = self.sheet.unique(f"/{self.path}/{operation}".replace("//", "/"))
        outputs = tuple(f"{name}_output_{number}" for number in range(count))
        given = {key: value for key, value in attributes.items() if value is not None}
        node = helper.make_node(operation, list(inputs), list(outputs), name=name, **given)
        node.doc_string = user_line(self.node)
        self.sheet.nodes.append(node)
        return outputs

    def reshape(self, name: str, shape: Sequence[int]) -> str:
        return self.emit("Reshape", name, self.ints(*shape))

    def refuse(self, what: str, do: str = "") -> UnsupportedOperation:
        return UnsupportedOperation(
            f"{operation_of(self.node)}: {what}", where=user_line(self.node), do=do
        )


def shape_of(value: Any) -> torch.Tensor:
    """The shape and type of a node's value."""
    found: torch.Tensor = value.meta["val"]
    return found


def numpy_type(dtype: torch.dtype) -> Any:
    return helper.tensor_dtype_to_np_dtype(TYPES[dtype])


def default_type(value: Any) -> torch.dtype:
    """PyTorch's type of a number."""
    return torch.as_tensor(value).dtype


def pair(value: Any, count: int = 2) -> list[int]:
    """A number for each axis."""
    values = [value] if isinstance(value, int) else list(value)
    return values * count if len(values) == 1 and count > 1 else values
