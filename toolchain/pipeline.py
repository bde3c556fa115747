"""The only caller and checker of passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from converters.capture import example, outputs_of
from model_defs.errors import PassFailed

if TYPE_CHECKING:
    from converters.api import Program
    from toolchain.passes import Pass

DRIFT = 1e-4
"""The largest change that an exact pass may make, as a share of the output's largest value."""


def run(program: Program, passes: Sequence[Pass]) -> Program:
    """The program after all passes.

    Raises PassFailed, naming the pass and those before it, for a pass that changes its input,
    returns NaN, or claims to be exact and is not.
    """
    done: list[str] = []
    outputs = _run(program)
    for step in passes:
        result = step(program)
        after = f" (after {', '.join(done)})" if done else ""
        if any(not torch.equal(a, b) for a, b in zip(outputs, _run(program), strict=True)):
            raise PassFailed(f"pass {step.name}{after} changed the program that it was given")
        program, outputs = result, _checked(step, after, result, outputs)
        done.append(step.name)
    return program


def _checked(
    step: Pass, after: str, result: Program, before: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    outputs = _run(result)
    for spec, old, new in zip(result.spec.outputs, before, outputs, strict=True):
        if old.shape != new.shape:
            raise PassFailed(f"pass {step.name}{after} changed the shape of '{spec.name}'")
        if not torch.isfinite(new).all():
            raise PassFailed(f"pass {step.name}{after} made '{spec.name}' NaN or infinite")
        drift = float((new - old).abs().max())
        if step.exact and drift > DRIFT * max(float(old.abs().max()), 1e-6):
            raise PassFailed(f"pass {step.name}{after} is exact, but moved '{spec.name}' {drift:g}")
    return outputs


def _run(program: Program) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return outputs_of(program.spec, program.module(*example(program.spec)))
