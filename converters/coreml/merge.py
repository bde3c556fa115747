"""Packages of one model at several sizes as one: a function for each, and every blob once."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters import mil
from converters.api import Artifact, Entry
from converters.coreml.ports import check_ports
from converters.mil.blob import HEADER_BYTES, RECORD, SENTINEL
from converters.mil.package import model_files, read_model
from converters.mil.values import MODEL_PATH
from model_defs.errors import ConversionFailed

MAIN = "main"
VERSION = 9
"""Of the specification that has functions: iOS 18."""
WEIGHTS = "weights/weight.bin"


def function_of(size: str) -> str:
    """The name of a size's function."""
    return f"size_{size}"


def merge(artifact: Artifact, further: Mapping[str, Artifact]) -> Artifact:
    """The first package with a function for each further size; `main` is still the first's.

    The description is what `coremltools.utils.save_multifunction` writes, whose rules these are:
    version 9, functions of the opset of iOS 18, and of no function's tensors outside of it.
    """
    model_file, data = model_files(artifact.path)
    model = read_model(model_file)
    weights = WeightFile(data / WEIGHTS)
    for _, value in _blob_values(model.mlProgram.functions[MAIN]):
        weights.know(value.offset)
    description = model.description
    _describe(description, MAIN, description)
    for side in ("input", "output", "state"):
        description.ClearField(side)
    description.defaultFunctionName = MAIN
    entries = []
    for size, other in further.items():
        _add(model, function_of(size), other.path, weights)
        entries.append(Entry(size, function_of(size), other.inputs, other.outputs))
    opsets = {function.opset for function in model.mlProgram.functions.values()}
    if len(opsets) > 1:
        raise ConversionFailed(f"the functions are of opsets {', '.join(sorted(opsets))}, not one")
    model.specificationVersion = max(model.specificationVersion, VERSION)
    weights.save()
    model_file.write_bytes(model.SerializeToString(deterministic=True))
    merged = replace(artifact, entries=tuple(entries))
    package = mil.open_package(artifact.path)
    for one in (merged, *(merged.at(entry.name) for entry in entries)):
        check_ports(one, package)
    return merged


def _add(model: Any, name: str, path: Path, weights: WeightFile) -> None:
    """Another package's function under a name, its blobs in these weights."""
    model_file, data = model_files(path)
    other = read_model(model_file)
    function = model.mlProgram.functions[name]
    function.CopyFrom(other.mlProgram.functions[MAIN])
    theirs = WeightFile(data / WEIGHTS)
    for _, value in _blob_values(function):
        value.offset = weights.place(*theirs.record(value.offset))
    _describe(model.description, name, other.description)


def _describe(description: Any, name: str, source: Any) -> None:
    """A function's tensors, as a package of it alone describes them."""
    described = description.functions.add(name=name)
    for side in ("input", "output", "state"):
        getattr(described, side).extend(getattr(source, side))


def _blob_values(function: Any) -> Iterator[tuple[str, Any]]:
    """The blobs that a function names, with the name of the operation that does."""
    for block in function.block_specializations.values():
        yield from _of_block(block)


def _of_block(block: Any) -> Iterator[tuple[str, Any]]:
    for operation in block.operations:
        bound = (b for given in operation.inputs.values() for b in given.arguments)
        values = [b.value for b in bound if b.WhichOneof("binding") == "value"]
        for value in (*operation.attributes.values(), *values):
            if value.WhichOneof("value") == "blobFileValue":
                blob = value.blobFileValue
                if blob.fileName != MODEL_PATH + WEIGHTS:
                    raise ConversionFailed(f"a constant lies in {blob.fileName}, not in {WEIGHTS}")
                yield operation.type, blob
        for inner in operation.blocks:
            yield from _of_block(inner)


class WeightFile:
    """The blobs of a package, to which others are added unless they are there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = bytearray(path.read_bytes() if path.is_file() else struct.pack("<II56x", 0, 2))
        self._known: dict[tuple[int, int, bytes], int] = {}

    def record(self, offset: int) -> tuple[int, int, bytes]:
        """The type, the bits of padding and the bytes of the blob at an offset."""
        _, code, count, start, padding = RECORD.unpack_from(self._data, offset)
        return code, padding, bytes(self._data[start : start + count])

    def know(self, offset: int) -> None:
        """Others that are equal to the blob at an offset are it."""
        self._known.setdefault(_key(*self.record(offset)), offset)

    def place(self, code: int, padding: int, data: bytes) -> int:
        """The offset of such a blob, which is added where there is none."""
        key = _key(code, padding, data)
        if key not in self._known:
            self._data += bytes(-len(self._data) % HEADER_BYTES)
            offset = len(self._data)
            record = RECORD.pack(SENTINEL, code, len(data), offset + HEADER_BYTES, padding)
            self._data += record.ljust(HEADER_BYTES, b"\0") + data
            (blobs,) = struct.unpack_from("<I", self._data)
            struct.pack_into("<I", self._data, 0, blobs + 1)
            self._known[key] = offset
        return self._known[key]

    def save(self) -> None:
        if len(self._data) > HEADER_BYTES:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(self._data)


def _key(code: int, padding: int, data: bytes) -> tuple[int, int, bytes]:
    return code, padding, hashlib.sha256(data).digest()
