"""Turns a block into steps: every operation known, every argument bound, every type checked.

Constants are decoded here, once. Everything that can be wrong with a program before numbers
flow is found here, and nothing is guessed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from converters.mil.constexpr import decode
from converters.mil.ops import OPS
from converters.mil.ops.signature import Op, Parameter, Tensors
from converters.mil.program import Block, Operation
from converters.mil.types import ListType, TensorType, Type
from converters.mil.values import Constant
from model_defs.errors import BadArtifact, MlshipError, UnsupportedOperation

MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
"""Bytes that the values of one call may need at a time: half of this machine."""

HALF_UNIT, HALF_LEAST = 2.0**-11, 2.0**-25
"""What rounding to fp16 moves a number by at most: as a share of it, and where it is subnormal."""

HALF_SMALLEST = 2.0**-14
"""The smallest number of fp16 that has all its digits."""
FEW_DIGITS = 5

COMPUTED: dict[str, torch.dtype] = {
    "bool": torch.bool,
    "fp16": torch.float32,
    "fp32": torch.float32,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
    "uint16": torch.int32,
    "uint32": torch.int64,
    "int4": torch.int8,
    "uint6": torch.uint8,
    "uint4": torch.uint8,
    "uint3": torch.uint8,
    "uint2": torch.uint8,
    "uint1": torch.uint8,
}
"""The torch type in which a dtype is computed: fp16 as float32 that is rounded to fp16."""


@dataclass(frozen=True)
class PlannedOperation:
    """An operation ready to run: constant arguments at hand, the others by name."""

    operation: Operation
    op: Op
    fixed: Mapping[str, Any]
    dynamic: Mapping[str, tuple[Parameter, tuple[str | Tensor, ...]]]
    frees: tuple[str, ...]
    plans: tuple[Plan, ...] = ()

    @property
    def foreseeable(self) -> bool:
        """Whether the shapes of the results can be known without the numbers."""
        return not self.op.reads_data and not self.plans

    @property
    def static(self) -> bool:
        """Whether every result has one shape, so that foreseeing it once is enough."""
        types = (r.type for r in self.operation.results)
        return all(
            isinstance(t, TensorType) and t.shape is not None and None not in t.shape for t in types
        )


@dataclass(frozen=True)
class Plan:
    """The steps of a block; `constants` are outputs that are known beforehand."""

    inputs: tuple[str, ...]
    steps: tuple[PlannedOperation, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Any]
    types: Mapping[str, Type]


@dataclass
class Scope:
    """What is known while a block is planned: declared types and constants, by name.

    With `nudge`, single numbers of fp16 are off by half a unit in their last place, up or down, as
    far as the numbers may be that they were rounded from.
    """

    opset: str
    types: dict[str, Type] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Any] = field(default_factory=dict)
    nudge: torch.Generator | None = None

    def declare(self, name: str, declared: Type) -> None:
        if name in self.types:
            raise BadArtifact(f"value '{name}' is computed twice")
        if isinstance(declared, TensorType) and declared.nbytes > MEMORY:
            raise BadArtifact(
                f"value '{name}' is declared as {declared}: {declared.nbytes / 2**30:.1f} GiB, "
                "more than this machine can hold"
            )
        self.types[name] = declared

    def type_of(self, argument: str | Constant) -> Type:
        if isinstance(argument, Constant):
            return argument.type
        if argument not in self.types:
            raise BadArtifact(f"reads '{argument}', which nothing has computed before")
        return self.types[argument]

    def array(self, argument: str | Constant) -> Any:
        """A constant as numpy array, str or list; BadArtifact for a computed value."""
        if isinstance(argument, Constant):
            return argument.load()
        if argument not in self.constants:
            raise BadArtifact(f"needs a constant, but '{argument}' is computed")
        return self.constants[argument]

    def tensor(self, argument: str | Constant) -> Any:
        """A constant as the torch tensor that is computed with, or str."""
        if isinstance(argument, Constant):
            return self._nudged(as_tensor(argument.load(), argument.type), argument.type)
        if argument not in self.tensors:
            declared = self.types[argument]
            found = as_tensor(self.array(argument), declared)
            self.tensors[argument] = self._nudged(found, declared)
        return self.tensors[argument]

    def _nudged(self, value: Any, declared: Type) -> Any:
        single = isinstance(value, Tensor) and value.numel() == 1
        half = isinstance(declared, TensorType) and declared.dtype == "fp16"
        if self.nudge is None or not (single and half) or _is_whole(float(value)):
            return value
        sign = torch.randint(2, value.shape, generator=self.nudge) * 2 - 1
        return value + sign * (value.abs() * HALF_UNIT).clamp(min=HALF_LEAST)


def _is_whole(number: float) -> bool:
    """Whether a number of fp16 has so few digits that it was not rounded: -1, 0.25, 6, inf."""
    if not math.isfinite(number):
        return True
    digits = abs(math.frexp(number)[0]) * 2**FEW_DIGITS
    return number == 0 or (abs(number) >= HALF_SMALLEST and digits == int(digits))


def as_tensor(array: Any, declared: Type) -> Any:
    """A numpy array as the tensor that is computed with; text and lists stay as they are."""
    if not isinstance(array, np.ndarray) or not isinstance(declared, TensorType):
        return array
    if declared.dtype not in COMPUTED:
        raise UnsupportedOperation(f"computing with {declared.dtype} numbers")
    # torch has these types but hardly computes in them; COMPUTED holds all their numbers.
    if array.dtype in (np.uint16, np.uint32):
        array = array.astype(np.int64)
    return torch.from_numpy(np.array(array)).to(COMPUTED[declared.dtype])


def plan_block(block: Block, scope: Scope) -> Plan:
    """The block's steps; MlshipError names the operation and the opset that it failed at."""
    steps = []
    for operation in block.operations:
        try:
            step = _planned(operation, scope)
        except MlshipError as error:
            where = error.where or f"{operation}, opset {scope.opset}"
            raise type(error)(error.what, where=where, do=error.do) from error
        if step is not None:
            steps.append(step)
    for name in block.outputs:
        scope.type_of(name)
    constants = {n: scope.tensor(n) for n in block.outputs if n in scope.constants}
    inputs = tuple(v.name for v in block.inputs)
    return Plan(inputs, _freeing(steps, block.outputs), block.outputs, constants, scope.types)


def _planned(operation: Operation, scope: Scope) -> PlannedOperation | None:
    for result in operation.results:
        scope.declare(result.name, result.type)
    if operation.type == "const" or operation.type.startswith("constexpr_"):
        _decode(operation, scope)
        return None
    if operation.type in CONTROL:
        return _control(operation, scope)
    if operation.type not in OPS:
        raise UnsupportedOperation(
            f"operation '{operation.type}' is not executed",
            do="converters/mil/COVERAGE.md lists what is",
        )
    op = OPS[operation.type]
    if operation.blocks:
        raise BadArtifact(f"operation '{operation.type}' has blocks")
    fixed, dynamic = _bound(operation, op, scope)
    _check_dtypes(operation, op, scope)
    return PlannedOperation(operation, op, fixed, dynamic, ())


def cond(pred: bool) -> None:
    """Only declares the arguments: the runtime chooses the block."""


def while_loop(loop_vars: Tensors) -> None:
    """Only declares the arguments: the runtime repeats the block."""


CONTROL: dict[str, Op] = {
    "cond": Op(cond, gives=(), many=True, reads_data=True),
    "while_loop": Op(while_loop, gives=(), many=True, reads_data=True),
}
"""Operations with two blocks: taken if true and if false; the condition and the body."""


def _control(operation: Operation, scope: Scope) -> PlannedOperation:
    op = CONTROL[operation.type]
    if len(operation.blocks) != 2:
        raise BadArtifact(f"{operation.type} has {len(operation.blocks)} blocks, not 2")
    fixed, dynamic = _bound(operation, op, scope)
    plans = tuple(_inner(block, scope) for block in operation.blocks)
    results, loops = len(operation.results), operation.type == "while_loop"
    counts = (1, results) if loops else (results, results)
    if tuple(len(p.outputs) for p in plans) != counts:
        raise BadArtifact(f"the blocks of {operation.type} do not give what it gives")
    given = len(operation.arguments.get("loop_vars", ())) if loops else 0
    if any(len(p.inputs) != given for p in plans) or (loops and given != results):
        raise BadArtifact(f"the blocks of {operation.type} do not take what it is given")
    return PlannedOperation(operation, op, fixed, dynamic, (), plans)


def _inner(block: Block, scope: Scope) -> Plan:
    """A block within a block: it sees what is outside, outside does not see it."""
    # Copies: what the block declares must not be seen, nor clash, outside of it.
    inner = Scope(scope.opset, dict(scope.types), dict(scope.constants), dict(scope.tensors))
    for value in block.inputs:
        inner.declare(value.name, value.type)
    return plan_block(block, inner)


def _decode(operation: Operation, scope: Scope) -> None:
    arguments = {}
    for key, values in operation.arguments.items():
        if len(values) != 1:
            raise BadArtifact(f"argument '{key}' has {len(values)} values")
        arguments[key] = scope.array(values[0])
    if operation.type == "const":
        if set(arguments) != {"val"} or len(operation.results) != 1:
            raise BadArtifact(f"a constant with arguments {', '.join(arguments) or 'none'}")
        results: tuple[Any, ...] = (arguments["val"],)
        declared = scope.type_of(operation.arguments["val"][0])
        if declared != operation.results[0].type:
            raise BadArtifact(
                f"a constant of type {declared}, declared {operation.results[0].type}"
            )
    else:
        results = decode(operation.type, arguments)
        _check_decoded(operation, results)
    for result, array in zip(operation.results, results, strict=True):
        scope.constants[result.name] = array


def _check_decoded(operation: Operation, results: tuple[np.ndarray, ...]) -> None:
    if len(results) != len(operation.results):
        raise BadArtifact(f"has {len(operation.results)} results, not {len(results)}")
    for result, array in zip(operation.results, results, strict=True):
        declared = result.type
        if (
            not isinstance(declared, TensorType)
            or declared.numpy != array.dtype
            or not declared.admits(array.shape)
        ):
            raise BadArtifact(f"decodes to {array.dtype}{list(array.shape)}, declared {declared}")


def _bound(operation: Operation, op: Op, scope: Scope) -> tuple[dict[str, Any], dict[str, Any]]:
    known = op.parameters
    unknown = sorted(set(operation.arguments) - set(known))
    if unknown:
        raise UnsupportedOperation(
            f"argument '{unknown[0]}' of operation '{operation.type}' is not executed",
            do=f"known: {', '.join(known)}",
        )
    fixed: dict[str, Any] = {}
    dynamic: dict[str, Any] = {}
    for name, parameter in known.items():
        values = operation.arguments.get(name)
        if values is None:
            if parameter.required:
                raise BadArtifact(f"argument '{name}' of operation '{operation.type}' is missing")
            continue
        if not parameter.variadic and len(values) != 1:
            raise BadArtifact(f"argument '{name}' has {len(values)} values, not one")
        for value in values:
            scope.type_of(value)
        constant = [isinstance(v, Constant) or v in scope.constants for v in values]
        if all(constant):
            fixed[name] = _converted(parameter, [scope.tensor(v) for v in values])
        else:
            dynamic[name] = (
                parameter,
                tuple(
                    scope.tensor(v) if c else str(v) for v, c in zip(values, constant, strict=True)
                ),
            )
    return fixed, dynamic


def _converted(parameter: Parameter, values: list[Any]) -> Any:
    return tuple(values) if parameter.variadic else parameter.convert(values[0])


def _check_dtypes(operation: Operation, op: Op, scope: Scope) -> None:
    """Each result's declared dtype is the one that the operation gives."""
    if len(operation.results) != len(op.gives) and not op.many:
        raise BadArtifact(f"has {len(operation.results)} results, not {len(op.gives)}")
    for i, result in enumerate(operation.results):
        expected = _given(operation, op.gives[min(i, len(op.gives) - 1)], scope)
        declared = result.type
        if not isinstance(declared, TensorType | ListType):
            raise BadArtifact(f"result '{result.name}' is declared as {declared}")
        actual = declared.dtype if isinstance(declared, TensorType) else declared.element.dtype
        if expected is not None and actual != expected:
            raise BadArtifact(f"result '{result.name}' is declared {declared}, but is {expected}")


def _given(operation: Operation, gives: str, scope: Scope) -> str | None:
    """The dtype that a `gives` entry of Op means here; None where an argument was left out."""
    if gives in COMPUTED:
        return gives
    values = operation.arguments.get(gives.removeprefix("="))
    if values is None:
        return None
    if gives.startswith("="):
        return str(scope.array(values[0]))
    declared = scope.type_of(values[0])
    if isinstance(declared, ListType):
        return declared.element.dtype
    return declared.dtype if isinstance(declared, TensorType) else None


def _freeing(
    steps: list[PlannedOperation], outputs: tuple[str, ...]
) -> tuple[PlannedOperation, ...]:
    """The steps, each with the values that nobody reads after it."""
    # From the end: a value that is not yet alive when its reader is met is read there last.
    alive = set(outputs)
    result = []
    for step in reversed(steps):
        names = {r.name for r in step.operation.results} | set(step.operation.reads())
        dead = names - alive
        alive |= names
        result.append(
            PlannedOperation(
                step.operation, step.op, step.fixed, step.dynamic, tuple(sorted(dead)), step.plans
            )
        )
    return tuple(reversed(result))


def peak_bytes(plan: Plan) -> int:
    """Bytes that the plan's values need at most at a time, by their declared types."""
    alive: dict[str, int] = {}
    peak = 0
    for step in plan.steps:
        for result in step.operation.results:
            if isinstance(result.type, TensorType):
                alive[result.name] = result.type.nbytes
        peak = max(peak, math.fsum(alive.values()).__trunc__())
        for name in step.frees:
            alive.pop(name, None)
    return peak
