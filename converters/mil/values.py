"""Constants of a program: written into it, or in its weight file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.mil.blob import BlobFile, unpack
from converters.mil.types import BITS, ListType, TensorType, Type, read_type
from model_defs.errors import BadArtifact

FIELDS: dict[str, tuple[str, ...]] = {
    "floats": ("fp32",),
    "doubles": ("fp64",),
    "ints": ("int32", "int16", "uint16", "int8", "uint8"),
    "longInts": ("int64", "uint64"),
    "bools": ("bool",),
    "bytes": ("fp16", "int8", "uint8", "uint32", *BITS),
}
"""Which dtypes each field of a `TensorValue` may hold."""

MODEL_PATH = "@model_path/"


class BlobFiles(Mapping[str, BlobFile]):
    """The weight files of a package by their names in the program, opened at first use."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._open: dict[str, BlobFile] = {}

    def __getitem__(self, name: str) -> BlobFile:
        if name not in self._open:
            relative = Path(name.removeprefix(MODEL_PATH))
            if not name.startswith(MODEL_PATH) or relative.is_absolute() or ".." in relative.parts:
                raise BadArtifact(f"the program points at '{name}', outside its package")
            self._open[name] = BlobFile(self.directory / relative)
        return self._open[name]

    def __iter__(self) -> Any:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)


@dataclass(frozen=True)
class Constant:
    """A value in a program; numbers in a weight file are read by `load`."""

    type: Type
    proto: Any
    blobs: BlobFiles

    def load(self) -> Any:
        """A numpy array, a str, or a list of these; BadArtifact where type and value differ."""
        if self.proto.WhichOneof("value") == "blobFileValue":
            blob = self.proto.blobFileValue
            return self.blobs[blob.fileName].read(blob.offset, _tensor(self.type))
        return _immediate(self.proto.immediateValue, self.type)

    def locate(self) -> None:
        """Checks that the value is there without reading its numbers."""
        kind = self.proto.WhichOneof("value")
        if kind == "blobFileValue":
            blob = self.proto.blobFileValue
            self.blobs[blob.fileName].locate(blob.offset, _tensor(self.type))
        elif kind is None:
            raise BadArtifact(f"a constant of type {self.type} has no value")


def read_constant(proto: Any, blobs: BlobFiles) -> Constant:
    constant = Constant(read_type(proto.type), proto, blobs)
    constant.locate()
    return constant


def _tensor(declared: Type) -> TensorType:
    if not isinstance(declared, TensorType):
        raise BadArtifact(f"a {declared} cannot lie in a weight file")
    return declared


def _immediate(proto: Any, declared: Type) -> Any:
    kind = proto.WhichOneof("value")
    if kind == "list" and isinstance(declared, ListType):
        return [_immediate(v.immediateValue, read_type(v.type)) for v in proto.list.values]
    if kind == "tensor" and isinstance(declared, TensorType):
        return _numbers(proto.tensor, declared)
    raise BadArtifact(f"a constant declared as {declared} holds a {kind or 'nothing'}")


def _numbers(proto: Any, declared: TensorType) -> Any:
    shape = declared.fixed
    field = proto.WhichOneof("value")
    if declared.dtype == "string":
        return _strings(proto, field, declared)
    if field is None and 0 in shape:
        return np.zeros(shape, declared.numpy)
    if declared.dtype not in FIELDS.get(field, ()):
        raise BadArtifact(f"a constant declared as {declared} holds {field or 'nothing'}")
    if field == "bytes":
        return _from_bytes(proto.bytes.values, declared)
    values = getattr(proto, field).values
    if len(values) != math.prod(shape):
        raise BadArtifact(f"a constant declared as {declared} holds {len(values)} numbers")
    return np.array(values, declared.numpy).reshape(shape)


def _strings(proto: Any, field: str | None, declared: TensorType) -> Any:
    values = list(proto.strings.values) if field == "strings" else []
    if len(values) != math.prod(declared.fixed):
        raise BadArtifact(f"a constant declared as {declared} holds {len(values)} strings")
    return values[0] if declared.shape == () else values


def _from_bytes(data: bytes, declared: TensorType) -> np.ndarray:
    raw = np.frombuffer(data, np.uint8)
    if declared.dtype in BITS:
        return unpack(raw, declared)
    shape = declared.fixed
    if len(raw) != math.prod(shape) * declared.numpy.itemsize:
        raise BadArtifact(f"a constant declared as {declared} holds {len(raw)} bytes")
    return raw.view(declared.numpy).reshape(shape)
