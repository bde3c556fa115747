"""Hints on what may leave the Neural Engine. Hints: only Core ML on a device decides and knows.

Each names its source, none of which is Core ML's own word on a program; on a Mac Xcode's
performance report and `MLComputePlan` say what really runs where.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from converters.mil.package import Function
from converters.mil.program import Operation
from converters.mil.types import TensorType

LAYERS = "github.com/hollance/neural-engine, docs/unsupported-layers.md (partly guesses, it says)"
TYPES = "apple.github.io/coremltools, Typed Execution"

MAY_LEAVE: dict[str, tuple[str, str]] = {
    "gather": ("gather is said not to run there", LAYERS),
    "gather_along_axis": ("gather is said not to run there", LAYERS),
    "gather_nd": ("gather is said not to run there", LAYERS),
    "gru": ("recurrent layers are said not to run there", LAYERS),
    "lstm": ("recurrent layers are said not to run there", LAYERS),
    "rnn": ("recurrent layers are said not to run there", LAYERS),
}
"""Operation -> why it may leave, and who says so."""

DILATED = ("dilated convolutions are said not to run there", LAYERS)
FLOAT32 = ("it computes in float32, the Neural Engine in float16", TYPES)
FREE = ("const", "cast")
"""Operations whose float32 says nothing of where the rest computes."""


@dataclass(frozen=True)
class Hint:
    """Operations of one type that may leave the Neural Engine for one reason."""

    operation: str
    count: int
    example: str
    why: str
    source: str

    def __str__(self) -> str:
        return (
            f"{self.count} x {self.operation} (such as '{self.example}') may leave the Neural "
            f"Engine: {self.why}; source: {self.source}"
        )


def hints(function: Function) -> tuple[Hint, ...]:
    """The hints for a function, in the order in which its operations give cause."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for operation in function.block.operations:
        for why, source in _reasons(operation, function):
            kind = "operation" if why == FLOAT32[0] else operation.type
            found.setdefault((kind, why, source), []).append(operation.name)
    return tuple(Hint(k, len(names), names[0], w, s) for (k, w, s), names in found.items())


def _reasons(operation: Operation, function: Function) -> Iterator[tuple[str, str]]:
    if operation.type in MAY_LEAVE:
        yield MAY_LEAVE[operation.type]
    if operation.type == "conv" and any(n > 1 for n in _numbers(operation, "dilations", function)):
        yield DILATED
    types = [r.type for r in operation.results if isinstance(r.type, TensorType)]
    if operation.type not in FREE and any(t.dtype == "fp32" for t in types):
        yield FLOAT32


def _numbers(operation: Operation, argument: str, function: Function) -> list[int]:
    """A constant argument's numbers; none where it is left out."""
    for value in operation.arguments.get(argument, ()):
        if not isinstance(value, str):
            return [int(n) for n in value.load()]
        for other in function.block.operations:
            if other.type == "const" and other.results[0].name == value:
                (constant,) = other.arguments["val"]
                return [] if isinstance(constant, str) else [int(n) for n in constant.load()]
    return []
