"""Executes a function over torch on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from converters.mil.declared import check_shapes
from converters.mil.ops.signature import Op, StateCell
from converters.mil.plan import (
    COMPUTED,
    MEMORY,
    Plan,
    PlannedOperation,
    Scope,
    as_tensor,
    peak_bytes,
    plan_block,
)
from converters.mil.program import FunctionDef, MilValue, Operation
from converters.mil.rules import findings
from converters.mil.types import ListType, TensorType
from model_defs.errors import BadArtifact, MlshipError, UnknownName

THREADS = 2

PRECISIONS = ("exact", "weights-only")

MOST_TURNS = 100_000
"""Turns after which a loop is taken to be endless."""

State = dict[str, StateCell]
"""The memory of a stateful function, by the names of its states."""

Observer = Callable[[Operation, MilValue, Any], None]
"""Called with every value that a call computes."""

FAILURES = (RuntimeError, ValueError, TypeError, IndexError, ArithmeticError)
"""What torch raises for arguments that do not fit together."""


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Interpreter:
    """A function planned for one precision; see `Function.interpreter`.

    `nudge` seeds what single numbers of fp16 are off by (`Scope`); None leaves them as they are.
    """

    def __init__(self, function: FunctionDef, precision: str, nudge: int | None = None) -> None:
        if precision not in PRECISIONS:
            raise UnknownName.among("precision", precision, PRECISIONS)
        self.function = function
        self._rounds = precision == "exact"
        self._foreseen: set[int] = set()
        scope = Scope(function.opset)
        if nudge is not None:
            scope.nudge = torch.Generator().manual_seed(nudge)
        for value in function.inputs:
            scope.declare(value.name, value.type)
        self.plan = plan_block(function.block, scope)
        needed = peak_bytes(self.plan)
        if needed > MEMORY:
            raise BadArtifact(
                f"function '{function.name}' needs {needed / 2**30:.1f} GiB at a time, "
                "more than this machine can hold"
            )
        _check_rules(function)

    def new_state(self) -> State:
        """The function's states, all zeros."""
        return {
            v.name: StateCell(torch.zeros(_tensor(v).fixed, dtype=COMPUTED[_tensor(v).dtype]))
            for v in self.function.inputs
            if _tensor(v).state
        }

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        trace: dict[str, np.ndarray] | None = None,
        state: State | None = None,
    ) -> dict[str, np.ndarray]:
        """See `Function.run`."""

        def record(operation: Operation, value: MilValue, result: Any) -> None:
            if trace is not None and isinstance(result, Tensor):
                trace[value.name] = as_array(result, _tensor(value))

        return self.observe(inputs, record, state)

    def observe(
        self, inputs: Mapping[str, np.ndarray], observer: Observer, state: State | None = None
    ) -> dict[str, np.ndarray]:
        """Runs, and shows the observer each result as soon as it is there."""
        env: dict[str, Any] = dict(self.new_state() if state is None else state)
        env.update(self._taken(inputs))
        with torch.inference_mode(), _threads(THREADS):
            results = self._block(self.plan, env, observer)
        outputs = {}
        for name, result in zip(self.plan.outputs, results, strict=True):
            declared = self.plan.types[name]
            if not isinstance(declared, TensorType):
                raise BadArtifact(f"output '{name}' is a {declared}")
            outputs[name] = as_array(result, declared)
        return outputs

    def _taken(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """The inputs as tensors; BadArtifact unless they are exactly what is declared."""
        declared = {v.name: _tensor(v) for v in self.function.inputs if not _tensor(v).state}
        if set(inputs) != set(declared):
            raise BadArtifact(
                f"inputs {', '.join(sorted(inputs)) or 'none'} for function "
                f"'{self.function.name}', which takes {', '.join(sorted(declared))}"
            )
        check_shapes({n: a.shape for n, a in inputs.items()}, self.function.declared)
        return {name: self._input(name, inputs[name], t) for name, t in declared.items()}

    def _input(self, name: str, array: np.ndarray, declared: TensorType) -> Tensor:
        if not declared.admits(array.shape):
            raise BadArtifact(f"input '{name}' has shape {array.shape}, not {declared}")
        if array.dtype != declared.numpy and not (array.dtype.kind == declared.numpy.kind == "f"):
            raise BadArtifact(f"input '{name}' is {array.dtype}, not {declared.dtype}")
        # Callers have float32 whatever the file declares; an fp16 input holds no more than fp16.
        tensor = as_tensor(array, declared)
        return tensor.half().float() if declared.dtype == "fp16" and self._rounds else tensor

    def _block(self, plan: Plan, env: dict[str, Any], observer: Observer) -> list[Any]:
        for step in plan.steps:
            try:
                results = self._step(step, env, observer)
            except MlshipError as error:
                # An error of an inner block names its own operation already, which is the one to
                # look at.
                where = error.where or f"{step.operation}, opset {self.function.opset}"
                raise type(error)(error.what, where=where, do=error.do) from error
            for value, result in zip(step.operation.results, results, strict=True):
                env[value.name] = result
                observer(step.operation, value, result)
            for name in step.frees:
                env.pop(name, None)
        return [plan.constants[n] if n in plan.constants else env[n] for n in plan.outputs]

    def _step(self, step: PlannedOperation, env: dict[str, Any], observer: Observer) -> list[Any]:
        arguments = dict(step.fixed)
        for name, (parameter, values) in step.dynamic.items():
            found = [env[v] if isinstance(v, str) else v for v in values]
            arguments[name] = tuple(found) if parameter.variadic else parameter.convert(found[0])
        if step.plans:
            return self._checked(step, tuple(self._control(step, arguments, env, observer)))
        # The shapes first, without numbers: a damaged file may ask for more than there is memory,
        # and torch would try. Where they are fixed, once is enough.
        if step.foreseeable and not (step.static and id(step) in self._foreseen):
            self._checked(step, _called(step, _as_meta(arguments)))
            self._foreseen.add(id(step))
        return self._checked(step, _called(step, arguments))

    def _control(
        self,
        step: PlannedOperation,
        arguments: dict[str, Any],
        env: dict[str, Any],
        observer: Observer,
    ) -> list[Any]:
        """Runs the block that `pred` chooses, or the body as long as its condition holds."""
        if step.operation.type == "cond":
            plan = step.plans[0 if arguments["pred"] else 1]
            # A copy: what a block makes and frees stays within it.
            return self._block(plan, dict(env), observer)
        condition, body = step.plans
        values = list(arguments["loop_vars"])
        for _ in range(MOST_TURNS):
            (go_on,) = self._block(condition, self._entered(condition, env, values), observer)
            if not bool(go_on):
                return values
            values = self._block(body, self._entered(body, env, values), observer)
        raise BadArtifact(f"a loop has not ended after {MOST_TURNS} turns")

    def _entered(self, plan: Plan, env: dict[str, Any], values: list[Any]) -> dict[str, Any]:
        """What a block sees: everything outside, and its inputs."""
        taken = {
            name: self._typed(value, MilValue(name, plan.types[name]))
            for name, value in zip(plan.inputs, values, strict=True)
        }
        return {**env, **taken}

    def _checked(self, step: PlannedOperation, results: Any) -> list[Any]:
        """The results, rounded to their declared types; BadArtifact where they are not those."""
        found = results if isinstance(results, tuple) else (results,)
        values = step.operation.results
        if len(found) != len(values):
            raise BadArtifact(f"gives {len(found)} results, declared {len(values)}")
        return [
            self._rounded(step.op, self._typed(r, v), v) for r, v in zip(found, values, strict=True)
        ]

    def _typed(self, result: Any, value: MilValue) -> Any:
        """The result; BadArtifact where it is not of its declared type or beyond memory."""
        declared = value.type
        if isinstance(declared, ListType):
            if not isinstance(result, list):
                raise BadArtifact(f"gives no list for '{value.name}'")
            return result
        if (
            not isinstance(result, Tensor)
            or not isinstance(declared, TensorType)
            or result.dtype != COMPUTED.get(declared.dtype)
            or not declared.admits(tuple(result.shape))
        ):
            found = (
                f"{result.dtype}{list(result.shape)}" if isinstance(result, Tensor) else "no tensor"
            )
            raise BadArtifact(f"gives {found} for '{value.name}', declared {declared}")
        if result.is_meta and result.numel() * result.element_size() > MEMORY:
            raise BadArtifact(f"gives {list(result.shape)}, more than this machine can hold")
        return result

    def _rounded(self, op: Op, result: Any, value: MilValue) -> Any:
        # What only moves was rounded where it was computed.
        halves = isinstance(value.type, TensorType) and value.type.dtype == "fp16"
        if halves and self._rounds and not op.moves:
            return result.half().float()
        return result


def _check_rules(function: FunctionDef) -> None:
    """BadArtifact where Core ML would not load it, with the rule's name."""
    for finding in findings(function):
        if finding.rule.kind == "loader":
            where = f"operation '{finding.operation}' ({finding.type}), opset {function.opset}"
            raise BadArtifact(finding.what, where=where, do=finding.do)


def _called(step: PlannedOperation, arguments: dict[str, Any]) -> Any:
    try:
        return step.op.run(**arguments)
    except FAILURES as error:
        raise BadArtifact(f"{step.operation} cannot be computed: {error}") from error


def _as_meta(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments without numbers, to find out what shapes come of them."""

    def meta(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to("meta")
        if isinstance(value, tuple) and any(isinstance(v, Tensor) for v in value):
            return tuple(map(meta, value))
        return value

    return {name: meta(value) for name, value in arguments.items()}


def as_array(tensor: Tensor, declared: TensorType) -> np.ndarray:
    """A computed tensor as numpy, of the declared dtype; beyond float16 is infinite, as there."""
    with np.errstate(over="ignore"):
        return tensor.contiguous().numpy().astype(declared.numpy)


def _tensor(value: MilValue) -> TensorType:
    if not isinstance(value.type, TensorType):
        raise BadArtifact(f"value '{value.name}' is a {value.type}")
    return value.type
