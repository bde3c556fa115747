"""The only caller and checker of passes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from converters.doubles import NOISE, roundings
from converters.program_graph import tensors_of
from converters.signature import outputs_of
from model_defs.counting import counted
from model_defs.errors import PassFailed, during
from toolchain.bundle.pass_record import PassRecord
from toolchain.data import cases
from toolchain.recipes.finite import check_finite
from toolchain.recipes.pass_report import MODEL, Evaluate, evaluate_nothing, record_of

if TYPE_CHECKING:
    from converters.api import Program, Tensors
    from toolchain.passes.base import Pass

DRIFT = 1e-4
"""The largest change that an exact pass may make, as a share of the output's largest value.

Or NOISE times what rounding moves the program itself, if that is more.
"""


def run(program: Program, passes: Sequence[Pass]) -> Program:
    """The program after all passes; raises what `record` does."""
    return record(program, passes)[0]


def record(
    program: Program, passes: Sequence[Pass], evaluate: Evaluate = evaluate_nothing
) -> tuple[Program, tuple[PassRecord, ...]]:
    """The program after all passes, and what each did.

    Raises PassFailed, naming the pass and those before it, for a pass that changes its input,
    returns NaN, claims to be exact and is not, or raises anything; BadModule where the model
    itself returns NaN.
    """
    done: list[str] = []
    model, macs = _run(program)
    _check_model(program, model)
    outputs, metrics = model, evaluate(MODEL, program)
    entries = [record_of(MODEL, program, macs, model, model, metrics)]
    for step in passes:
        after = f" (after {', '.join(done)})" if done else ""
        leave = f"leave {step.name} out of the recipe"
        with during(f"pass {step.name}{after}", PassFailed, do=leave):
            result = step(program)
        again, macs = _run(program)
        if any(not torch.equal(a, b) for a, b in zip(outputs, again, strict=True)):
            raise PassFailed(f"pass {step.name}{after} changed the program that it was given")
        with during(f"the net after pass {step.name}{after}", PassFailed, do=leave):
            new, macs = (again, macs) if result is program else _run(result)
        _check(step, after, program, result, outputs, new)
        if result is not program:
            metrics = evaluate(step.name, result)
        program, outputs = (result if result is not program else _idle(step, program)), new
        entries.append(record_of(step.name, program, macs, outputs, model, metrics))
        done.append(step.name)
    return program, tuple(entries)


def _idle(step: Pass, program: Program) -> Program:
    """A program that a pass left as it was, with a note on why it may have, where that is news."""
    note = f"{step.name} changed nothing: {step.idle}"
    if not step.idle or note in program.notes:
        return program
    return replace(program, notes=(*program.notes, note))


def _check_model(program: Program, outputs: tuple[torch.Tensor, ...]) -> None:
    (case,) = cases.build(program.spec.inputs, ("photo",)).items()
    own = {s.name: y.numpy() for s, y in zip(program.spec.outputs, outputs, strict=True)}
    check_finite(program, *case, own)


def _check(
    step: Pass,
    after: str,
    program: Program,
    result: Program,
    before: tuple[torch.Tensor, ...],
    outputs: tuple[torch.Tensor, ...],
) -> None:
    moved = functools.cache(functools.partial(_roundings, program, before))
    for spec, old, new in zip(result.spec.outputs, before, outputs, strict=True):
        if old.shape != new.shape:
            raise PassFailed(f"pass {step.name}{after} changed the shape of '{spec.name}'")
        if not torch.isfinite(new).all():
            raise PassFailed(f"pass {step.name}{after} made '{spec.name}' NaN or infinite")
        if not spec.is_float:
            differ = float((new != old).float().mean())
            if step.exact and differ > DRIFT:
                still = moved().get(spec.name, 0) == 0
                if not (still & (new != old).numpy()).any():
                    continue  # rounding, or a choice among equals, moves all that differ
                what = f"changed {differ:.2%} of '{spec.name}'"
                raise PassFailed(f"pass {step.name}{after} is exact, but {what}")
            continue
        drift = float((new - old).abs().max())
        if step.exact and drift > DRIFT * max(float(old.abs().max()), 1e-6):
            if drift <= NOISE * float(np.max(moved().get(spec.name, 0.0))):
                continue  # rounding moves the program itself as far
            raise PassFailed(f"pass {step.name}{after} is exact, but moved '{spec.name}' {drift:g}")


def _roundings(program: Program, outputs: tuple[torch.Tensor, ...]) -> Tensors:
    """How far rounding moves what the program says of the photograph."""
    (case,) = cases.build(program.spec.inputs, ("photo",)).values()
    own = {s.name: y.numpy() for s, y in zip(program.spec.outputs, outputs, strict=True)}
    return roundings(program, case, own)


def _run(program: Program) -> tuple[tuple[torch.Tensor, ...], int]:
    """The outputs on a photograph, and the multiply-adds of convolutions and matrix products."""
    (case,) = cases.build(program.spec.inputs, ("photo",)).values()
    inputs = tensors_of(program, case)
    return counted(lambda: outputs_of(program.spec, program.module(*inputs)))
