"""The numbers of the constants of a Core ML package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from converters import mil
from converters.api import Artifact
from converters.mil.plan import Plan
from converters.numbers import StoredConstant


def read(artifact: Artifact) -> Iterator[StoredConstant]:
    """Each floating-point argument that is known before a call, as the operation reads it.

    Named operation/argument; what several operations read comes once. Of all functions.
    """
    seen: set[int] = set()
    for function in mil.open_package(artifact.path).functions.values():
        yield from _of_plan(function.interpreter("exact").plan, seen)


def _of_plan(plan: Plan, seen: set[int]) -> Iterator[StoredConstant]:
    for step in plan.steps:
        known = {name: values for name, (_, values) in step.dynamic.items()} | dict(step.fixed)
        for name, value in known.items():
            for tensor in value if isinstance(value, tuple) else (value,):
                if _is_floats(tensor) and tensor.data_ptr() not in seen:
                    seen.add(tensor.data_ptr())
                    yield StoredConstant(f"{step.operation.name}/{name}", tensor.numpy())
        for inner in step.plans:
            yield from _of_plan(inner, seen)


def _is_floats(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.is_floating_point()
