"""Core ML's own rules: what it refuses, and where it computes otherwise than PyTorch.

    for finding in findings(package.main):
        print(finding.rule.name, finding.operation, finding.why)

One literal table, each rule with its source. None was seen on a device here: they are what
others report, what Apple documents of its operations, and what backends for Core ML found out.
`docs/core-ml-rules.md` is made of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from converters.mil.program import Block, FunctionDef, MilValue
from converters.mil.rules import (
    convolutions,
    elementwise,
    images,
    indices,
    normalisation,
    pads,
    pools,
    ports,
    products,
    recurrent,
    shapes,
)
from converters.mil.rules.rule import ANY, CoreMlRule, KnownValue, RuledCall, call_of
from converters.mil.values import Constant

RULES: tuple[CoreMlRule, ...] = (
    *pools.RULES,
    *pads.RULES,
    *convolutions.RULES,
    *products.RULES,
    *indices.RULES,
    *shapes.RULES,
    *normalisation.RULES,
    *elementwise.RULES,
    *images.RULES,
    *recurrent.RULES,
    *ports.RULES,
)


@dataclass(frozen=True)
class BrokenRule:
    """A rule that an operation of a program breaks, and how."""

    rule: CoreMlRule
    operation: str
    type: str
    why: str

    @property
    def what(self) -> str:
        return f"{self.rule.name}: Core ML {self.rule.what}; here: {self.why}"

    @property
    def do(self) -> str:
        return f"written instead: {self.rule.instead} (docs/core-ml-rules.md)"


def warnings(function: FunctionDef) -> tuple[str, ...]:
    """What goes wrong on one unit of a machine, by report: a sentence for each rule."""
    found: dict[str, list[BrokenRule]] = {}
    for finding in findings(function):
        if finding.rule.kind == "unit":
            found.setdefault(finding.rule.name, []).append(finding)
    return tuple(_warning(group) for group in found.values())


def _warning(group: list[BrokenRule]) -> str:
    first, more = group[0], f" and {len(group) - 1} more" if len(group) > 1 else ""
    return (
        f"{first.type} '{first.operation}'{more}: Core ML {first.rule.what} ({first.why}); "
        f"rule {first.rule.name}, reported in {', '.join(first.rule.source)}"
    )


def findings(function: FunctionDef) -> Iterator[BrokenRule]:
    """What a function does against the rules, operation by operation."""
    known = {value.name: KnownValue(value.type) for value in function.inputs}
    for value in function.inputs:
        yield from _broken(_port("input", value.name, function, known))
    yield from _broken(_function(function, known))
    yield from _of_block(function.block, function.opset, known)
    for name in function.outputs:
        if name in known:
            yield from _broken(_port("output", name, function, known))


def _of_block(block: Block, opset: str, known: dict[str, KnownValue]) -> Iterator[BrokenRule]:
    for operation in block.operations:
        yield from _broken(call_of(operation, opset, known))
        constant = operation.arguments.get("val", (None,))[0] if operation.type == "const" else None
        for result in operation.results:
            fixed = constant if isinstance(constant, Constant) else None
            known[result.name] = KnownValue(result.type, operation, fixed)
        for inner in operation.blocks:
            yield from _of_block(inner, opset, known | _typed(inner.inputs))


def _typed(values: tuple[MilValue, ...]) -> dict[str, KnownValue]:
    return {value.name: KnownValue(value.type) for value in values}


def _port(kind: str, name: str, function: FunctionDef, known: dict[str, KnownValue]) -> RuledCall:
    return RuledCall(kind, name, function.opset, {"x": (name,)}, (), known)


def _function(function: FunctionDef, known: dict[str, KnownValue]) -> RuledCall:
    names = tuple(value.name for value in function.inputs)
    return RuledCall("function", function.name, function.opset, {"inputs": names}, (), known)


def _broken(call: RuledCall) -> Iterator[BrokenRule]:
    for rule in RULES:
        if call.type in rule.operators or (ANY in rule.operators and call.results):
            why = rule.check(call)
            if why is not None:
                yield BrokenRule(rule, call.name, call.type, why)


__all__ = ["RULES", "BrokenRule", "CoreMlRule", "findings", "warnings"]
