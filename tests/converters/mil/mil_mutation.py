"""Changes a saved package: one attribute, one weight, one byte. For tests of those who check.

flip_constant(path, "conv", "pad")      changes the first number of that argument
perturb_weights(path)                   changes one stored weight visibly
edit(path, change)                      any change of the Model message
truncate(path / ..., keep=0.5)          cuts a file short
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from converters.mil.package import model_files, read_model


def edit(package: Path, change: Callable[[Any], None]) -> None:
    """Rewrites the package's model file after `change` was applied to its message."""
    model_file, _ = model_files(package)
    model = read_model(model_file)
    change(model)
    model_file.write_bytes(model.SerializeToString())


def operations(model: Any) -> Iterator[Any]:
    """The messages of all operations of all functions."""
    for function in model.mlProgram.functions.values():
        for block in function.block_specializations.values():
            yield from block.operations


def operation(model: Any, kind: str, index: int = 0) -> Any:
    """The message of the `index`-th operation of a type."""
    found = [o for o in operations(model) if o.type == kind]
    if index >= len(found):
        raise LookupError(f"{len(found)} operations of type '{kind}'")
    return found[index]


def constant(model: Any, name: str) -> Any:
    """The `TensorValue` message of the constant that is called `name`."""
    for candidate in operations(model):
        if candidate.type == "const" and candidate.outputs[0].name == name:
            return candidate.attributes["val"].immediateValue.tensor
    raise LookupError(f"no constant '{name}'")


def own_constant(model: Any, binding: Any) -> Any:
    """The `TensorValue` of a copy of the constant that an argument reads; now it reads the copy."""
    (block,) = (
        block
        for function in model.mlProgram.functions.values()
        for block in function.block_specializations.values()
    )
    shared = next(op for op in block.operations if op.outputs[0].name == binding.name)
    copied = type(shared).FromString(shared.SerializeToString())
    copied.outputs[0].name = binding.name = f"{binding.name}_own"
    copied.attributes["name"].immediateValue.tensor.strings.values[:] = [binding.name]
    block.operations.insert(0, copied)
    return constant(model, binding.name)


OTHERS = {"custom": "valid", "valid": "same", "reflect": "replicate"}
"""Another text that an argument may have."""


def flip_constant(package: Path, kind: str, argument: str, index: int = 0) -> None:
    """Changes an operation's constant argument: first number +1, the opposite, another text."""

    def change(model: Any) -> None:
        target = operation(model, kind, index)
        tensor = constant(model, target.inputs[argument].arguments[0].name)
        field = tensor.WhichOneof("value")
        if field == "bytes":
            half = np.frombuffer(tensor.bytes.values, np.float16).copy()
            half[0] += 1
            tensor.bytes.values = half.tobytes()
            return
        values = getattr(tensor, field).values
        if field == "strings":
            values[0] = OTHERS[values[0]]
            return
        values[0] = not values[0] if field == "bools" else values[0] + 1

    edit(package, change)


def weight_file(package: Path) -> Path:
    _, directory = model_files(package)
    return directory / "weights" / "weight.bin"


def perturb_weights(package: Path, record: int = 0) -> None:
    """Adds 1 to the middle number of a blob of the weight file (fp16, fp32 or 8 bits)."""
    path = weight_file(package)
    data = bytearray(path.read_bytes())
    offset = list(records(bytes(data)))[record]
    _, code, nbytes, start, _ = struct.unpack_from("<IIQQQ", data, offset)
    dtype = {1: np.float16, 2: np.float32, 3: np.uint8, 4: np.int8}[code]
    numbers = np.frombuffer(data, dtype, nbytes // np.dtype(dtype).itemsize, start)
    numbers[len(numbers) // 2] += 1
    path.write_bytes(data)


def records(data: bytes) -> Iterator[int]:
    """The offsets of the blobs' records in a weight file."""
    offset = 64
    while offset + 64 <= len(data):
        sentinel, _, nbytes, start, _ = struct.unpack_from("<IIQQQ", data, offset)
        if sentinel != 0xDEADBEEF:
            return
        yield offset
        offset = -(-(start + nbytes) // 64) * 64


def truncate(path: Path, keep: float) -> None:
    """Keeps only a fraction of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
