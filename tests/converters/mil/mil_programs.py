"""Core ML programs written by hand, without coremltools: a line for each operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters.mil.program import Argument, Block, FunctionDef, MilValue, Operation
from converters.mil.types import TensorType
from converters.mil.values import Constant

DTYPES = {"float32": "fp32", "float16": "fp16", "bool": "bool", "int32": "int32", "int64": "int32"}


class Fixed(Constant):
    """A constant whose value is at hand."""

    def load(self) -> Any:
        return self.proto


def fixed(value: Any, dtype: str = "") -> Constant:
    """A constant of a list, a number, a text or an array; floats are fp32, integers int32."""
    if isinstance(value, str):
        return Fixed(TensorType("string", ()), value, None)  # type: ignore[arg-type]
    array = np.asarray(value, dtype) if dtype else np.asarray(value)
    if not dtype and array.dtype.kind in "if":
        array = array.astype(np.int32 if array.dtype.kind == "i" else np.float32)
    kind = DTYPES.get(array.dtype.name, array.dtype.name)
    return Fixed(TensorType(kind, array.shape), array, None)  # type: ignore[arg-type]


def tensor(*shape: int | None, dtype: str = "fp32") -> TensorType:
    return TensorType(dtype, shape)


@dataclass
class Builder:
    """A function to which operations are added; the last one's results are its outputs."""

    inputs: Mapping[str, TensorType]
    opset: str = "CoreML6"
    operations: list[Operation] = field(default_factory=list)

    def add(self, kind: str, *results: TensorType, **arguments: Any) -> str:
        """An operation whose arguments are names ("%x"), constants, or tuples of them."""
        name = f"{kind}_{len(self.operations)}"
        names = [name] if len(results) == 1 else [f"{name}_{i}" for i in range(len(results))]
        bound = {key: _bound(value) for key, value in arguments.items()}
        values = tuple(MilValue(n, t) for n, t in zip(names, results, strict=True))
        self.operations.append(Operation(kind, names[0], bound, values, ()))
        return f"%{names[0]}"

    def function(self, name: str = "main") -> FunctionDef:
        inputs = tuple(MilValue(n, t) for n, t in self.inputs.items())
        outputs = tuple(r.name for r in self.operations[-1].results)
        block = Block(inputs, tuple(self.operations), outputs)
        return FunctionDef(name, self.opset, inputs, outputs, block)


def _bound(value: Any) -> tuple[Argument, ...]:
    if isinstance(value, tuple):
        return tuple(one for given in value for one in _bound(given))
    if isinstance(value, str) and value.startswith("%"):
        return (value.removeprefix("%"),)
    return (value if isinstance(value, Constant) else fixed(value),)


def program(
    kind: str,
    result: TensorType | tuple[TensorType, ...],
    inputs: Mapping[str, TensorType],
    opset: str = "CoreML6",
    **arguments: Any,
) -> FunctionDef:
    """A function of one operation, whose arguments of these names are the function's inputs."""
    built = Builder(inputs, opset)
    results = result if isinstance(result, tuple) else (result,)
    built.add(kind, *results, **{n: f"%{n}" for n in inputs if n not in arguments}, **arguments)
    return built.function()
