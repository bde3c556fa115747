"""Types of MIL values, as a program declares them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_defs.errors import BadArtifact

DTYPES: dict[int, str] = {
    1: "bool",
    2: "string",
    10: "fp16",
    11: "fp32",
    12: "fp64",
    21: "int8",
    22: "int16",
    23: "int32",
    24: "int64",
    25: "int4",
    31: "uint8",
    32: "uint16",
    33: "uint32",
    34: "uint64",
    35: "uint4",
    36: "uint2",
    37: "uint1",
    38: "uint6",
    39: "uint3",
}
"""MIL's names of `DataType` in MIL.proto; bfloat16 and float8 are not executed."""

STORAGE: dict[str, np.dtype] = {
    "bool": np.dtype(np.bool_),
    "fp16": np.dtype(np.float16),
    "fp32": np.dtype(np.float32),
    "fp64": np.dtype(np.float64),
    "int8": np.dtype(np.int8),
    "int16": np.dtype(np.int16),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "uint8": np.dtype(np.uint8),
    "uint16": np.dtype(np.uint16),
    "uint32": np.dtype(np.uint32),
    "uint64": np.dtype(np.uint64),
    "int4": np.dtype(np.int8),
    "uint6": np.dtype(np.uint8),
    "uint4": np.dtype(np.uint8),
    "uint3": np.dtype(np.uint8),
    "uint2": np.dtype(np.uint8),
    "uint1": np.dtype(np.uint8),
}
"""The numpy type that holds each dtype; those below 8 bits are held in a byte each."""

BITS: dict[str, int] = {"int4": 4, "uint6": 6, "uint4": 4, "uint3": 3, "uint2": 2, "uint1": 1}
"""Widths of the dtypes that are packed."""


@dataclass(frozen=True)
class TensorType:
    """A tensor's dtype and shape; a size of None is flexible, a shape of None wholly unknown.

    Scalars are tensors of shape (). A `state` is memory that outlives a call.
    """

    dtype: str
    shape: tuple[int | None, ...] | None
    state: bool = False

    def __str__(self) -> str:
        sizes = (
            "..."
            if self.shape is None
            else ", ".join("?" if n is None else str(n) for n in self.shape)
        )
        return f"{'state ' if self.state else ''}{self.dtype}[{sizes}]"

    @property
    def numpy(self) -> np.dtype:
        """The numpy type of the values; BadArtifact for strings."""
        if self.dtype not in STORAGE:
            raise BadArtifact(f"a {self.dtype} tensor has no numbers")
        return STORAGE[self.dtype]

    @property
    def fixed(self) -> tuple[int, ...]:
        """The shape, all of whose sizes are known; BadArtifact where one is not."""
        if self.shape is None or None in self.shape:
            raise BadArtifact(f"{self} has no fixed shape")
        return tuple(n for n in self.shape if n is not None)

    @property
    def nbytes(self) -> int:
        """Bytes in memory when executed (fp16 is computed as fp32); flexible sizes count as 1."""
        itemsize = (
            1
            if self.dtype == "string"
            else max(self.numpy.itemsize, 4 if self.dtype == "fp16" else 1)
        )
        return math.prod(1 if n is None else n for n in self.shape or ()) * itemsize

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether a value of this shape may be of this type."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            declared in (None, actual) for declared, actual in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True)
class ListType:
    """A list of tensors of one type; `length` None is dynamic."""

    element: TensorType
    length: int | None

    def __str__(self) -> str:
        return f"list[{self.element}]"


@dataclass(frozen=True)
class DictionaryType:
    """A dictionary, which only a classifier's output is."""

    key: TensorType
    value: TensorType


Type = TensorType | ListType | DictionaryType


def read_type(proto: Any) -> Type:
    """The type in a `ValueType` message; BadArtifact where it is malformed or not executed."""
    kind = proto.WhichOneof("type")
    if kind == "tensorType":
        return _tensor_type(proto.tensorType)
    if kind == "stateType":
        inner = _of_tensor(proto.stateType.wrappedType, "state")
        return TensorType(inner.dtype, inner.shape, state=True)
    if kind == "listType":
        return ListType(_of_tensor(proto.listType.type, "list"), _size(proto.listType.length))
    if kind == "dictionaryType":
        key, value = proto.dictionaryType.keyType, proto.dictionaryType.valueType
        return DictionaryType(_of_tensor(key, "dictionary"), _of_tensor(value, "dictionary"))
    raise BadArtifact(f"a value is declared as {kind or 'nothing'}, which is not executed")


def _of_tensor(proto: Any, container: str) -> TensorType:
    if proto.WhichOneof("type") != "tensorType":
        raise BadArtifact(f"a {container} holds something that is not a tensor")
    return _tensor_type(proto.tensorType)


def _tensor_type(proto: Any) -> TensorType:
    if proto.dataType not in DTYPES:
        raise BadArtifact(
            f"a tensor is declared with dtype code {proto.dataType}, which is not executed"
        )
    dtype = DTYPES[proto.dataType]
    if any(d.WhichOneof("dimension") == "unknown" and d.unknown.variadic for d in proto.dimensions):
        return TensorType(dtype, None)
    if proto.rank != len(proto.dimensions):
        raise BadArtifact(f"a tensor declares rank {proto.rank} but {len(proto.dimensions)} sizes")
    return TensorType(dtype, tuple(_size(d) for d in proto.dimensions))


def _size(proto: Any) -> int | None:
    return proto.constant.size if proto.WhichOneof("dimension") == "constant" else None
