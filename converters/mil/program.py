"""A program as plain data: functions, blocks, operations, and the values between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from converters.mil.declared import Declared
from converters.mil.types import Type, read_type
from converters.mil.values import BlobFiles, Constant, read_constant
from model_defs.errors import BadArtifact

Argument = str | Constant
"""The name of a value computed before, or a constant written in place."""


@dataclass(frozen=True)
class MilValue:
    """A named value and its declared type."""

    name: str
    type: Type


@dataclass(frozen=True)
class Block:
    """Operations in order; `outputs` are names of values."""

    inputs: tuple[MilValue, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Operation:
    """One operation. An argument with several values is variadic, such as concat's."""

    type: str
    name: str
    arguments: Mapping[str, tuple[Argument, ...]]
    results: tuple[MilValue, ...]
    blocks: tuple[Block, ...]

    def __str__(self) -> str:
        return f"operation '{self.name}' ({self.type})"

    def reads(self) -> Iterator[str]:
        """The names of the values that it needs, those of its blocks included."""
        for arguments in self.arguments.values():
            yield from (a for a in arguments if isinstance(a, str))
        for block in self.blocks:
            for operation in block.operations:
                yield from operation.reads()
            yield from block.outputs


@dataclass(frozen=True)
class FunctionDef:
    """A function as its file declares it: a typed block, and the opset that gives it meaning."""

    name: str
    opset: str
    inputs: tuple[MilValue, ...]
    outputs: tuple[str, ...]
    block: Block
    declared: Mapping[str, Declared] = field(default_factory=dict)
    """The shapes of inputs that may have several."""


def read_values(protos: Any) -> tuple[MilValue, ...]:
    return tuple(MilValue(p.name, read_type(p.type)) for p in protos)


def read_block(proto: Any, blobs: BlobFiles) -> Block:
    """A block and the blocks in it; BadArtifact names the operation that is malformed."""
    operations = tuple(_operation(p, blobs) for p in proto.operations)
    return Block(read_values(proto.inputs), operations, tuple(proto.outputs))


def _operation(proto: Any, blobs: BlobFiles) -> Operation:
    try:
        return Operation(
            proto.type,
            _name(proto),
            _arguments(proto, blobs),
            read_values(proto.outputs),
            tuple(read_block(b, blobs) for b in proto.blocks),
        )
    except BadArtifact as error:
        where = error.where or f"operation '{_name(proto)}' ({proto.type})"
        raise BadArtifact(error.what, where=where, do=error.do) from error


def _name(proto: Any) -> str:
    if proto.outputs:
        return proto.outputs[0].name
    if "name" not in proto.attributes:
        return "?"
    strings = proto.attributes["name"].immediateValue.tensor.strings.values
    return strings[0] if strings else "?"


def _arguments(proto: Any, blobs: BlobFiles) -> dict[str, tuple[Argument, ...]]:
    """Inputs, and attributes: the latter hold `val` of const and iOS16's constexpr arguments."""
    arguments: dict[str, tuple[Argument, ...]] = {
        key: tuple(_binding(b, blobs) for b in argument.arguments)
        for key, argument in proto.inputs.items()
    }
    for key, value in proto.attributes.items():
        if key == "name":
            continue
        if key in arguments:
            raise BadArtifact(f"argument '{key}' is given twice")
        arguments[key] = (read_constant(value, blobs),)
    return arguments


def _binding(proto: Any, blobs: BlobFiles) -> Argument:
    kind = proto.WhichOneof("binding")
    if kind is None:
        raise BadArtifact("an argument is bound to nothing")
    return proto.name if kind == "name" else read_constant(proto.value, blobs)
