"""Range audit: where half precision bends or breaks a program, seen on real inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from converters.mil.package import Function, Package
from converters.mil.plan import Scope
from converters.mil.program import MilValue, Operation
from converters.mil.types import TensorType
from converters.mil.values import Constant
from model_defs.errors import BadArtifact

LARGEST = 65504.0
"""The largest finite fp16 number."""

NORMAL = 2.0**-14
"""The smallest normal fp16 number, 6.1e-5: hardware may flush what is below it to zero."""

NEAR = 0.5
"""The share of LARGEST from which a value is near to overflowing."""


@dataclass(frozen=True)
class AuditRow:
    """One finding: `kind` is a key of ADVICE, `value` the number that it is about."""

    kind: str
    tensor: str
    operation: str
    value: float
    advice: str


ADVICE = {
    "no-number": "NaN in float32 too: mend the model (a root or logarithm below zero, 0/0)",
    "overflow": "keep this part in float32, or scale its input down and its result up",
    "near-overflow": "other inputs may overflow: scale down, or keep this part in float32",
    "vanishing-constant": "half precision stores another number: use one above 6e-5",
    "small-epsilon": "an epsilon below 6e-5 may be zero in half precision: use 1e-4 or more",
}
"""What to do about each kind of finding."""

BREAKS = ("no-number", "overflow")
"""The kinds that make wrong numbers of the inputs that were tried; others are warnings."""


def audit(
    package: Package,
    inputs: Mapping[str, np.ndarray] | Iterable[Mapping[str, np.ndarray]],
    function: str | None = None,
) -> list[AuditRow]:
    """What may go wrong in fp16, for one set of inputs or several.

    Values are computed in float32 ("weights-only"), so that what would overflow is seen at its
    real size. Best fed with the float32 package: in a float16 one a constant that has already
    become zero is not seen any more.
    """
    chosen = package.main if function is None else package[function]
    feeds = [inputs] if isinstance(inputs, Mapping) else list(inputs)
    if not feeds:
        raise BadArtifact("an audit needs inputs", do="give at least one set of inputs")
    largest: dict[str, tuple[Operation, float]] = {}

    def observe(operation: Operation, value: MilValue, result: Any) -> None:
        if isinstance(result, Tensor) and result.is_floating_point() and result.numel():
            peak = float(result.abs().max())
            if not peak <= largest.get(value.name, (operation, -1.0))[1]:
                largest[value.name] = operation, peak

    interpreter = chosen.interpreter("weights-only")
    for feed in feeds:
        interpreter.observe(feed, observe)
    rows = [row for name, (op, peak) in largest.items() for row in _range(name, op, peak)]
    return rows + constants(chosen)


def _range(name: str, operation: Operation, peak: float) -> list[AuditRow]:
    kind = (
        "no-number" if math.isnan(peak)
        else "overflow" if peak > LARGEST
        else "near-overflow" if peak > NEAR * LARGEST
        else ""
    )  # fmt: skip
    return [AuditRow(kind, name, operation.type, peak, ADVICE[kind])] if kind else []


EPSILONS = ("epsilon",)
"""Arguments that keep a division or a root away from zero."""


def constants(function: Function) -> list[AuditRow]:
    """Scalars that fp16 cannot hold, and epsilons that it may flush; needs no inputs.

    Large weights are left out: single weights that become zero do no harm.
    """
    scope = Scope(function.opset)
    users = _users(function)
    rows = []
    for operation in function.block.operations:
        if operation.type != "const":
            continue
        declared = operation.results[0].type
        (argument,) = operation.arguments["val"]
        if not isinstance(declared, TensorType) or not isinstance(argument, Constant):
            continue
        if declared.dtype not in ("fp16", "fp32") or declared.nbytes > 4 * 16:
            continue
        for user, name in users.get(operation.results[0].name, []):
            values = np.asarray(scope.array(argument), np.float64).flatten()
            rows += _small(values, user, name)
    return rows


def _users(function: Function) -> dict[str, list[tuple[Operation, str]]]:
    found: dict[str, list[tuple[Operation, str]]] = {}
    for operation in function.block.operations:
        for name, values in operation.arguments.items():
            for value in values:
                if isinstance(value, str):
                    found.setdefault(value, []).append((operation, name))
    return found


def _small(values: np.ndarray, user: Operation, argument: str) -> list[AuditRow]:
    kind = "small-epsilon" if argument in EPSILONS else "vanishing-constant"
    tiny = values[(values != 0) & (np.abs(values) < NORMAL)]
    if not tiny.size:
        return []
    worst = float(tiny[np.abs(tiny).argmin()])
    tensor = user.results[0].name if user.results else user.name
    return [AuditRow(kind, tensor, user.type, worst, ADVICE[kind])]
