"""Cases of a model with state are sequences: steps that each go on from the last.

The case `photo` becomes `photo-step-1`, `photo-step-2` and so on. What an app feeds changes a
little from step to step; what is state is zeros at step 1, then what the step before put out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from converters.api import Program, Tensors
from converters.stepping import fed_back, first_state
from model_defs.spec import TensorSpec
from toolchain.data import cases

Cases = dict[str, dict[str, np.ndarray]]

STEPS: Mapping[str, int] = {"photo": 4, "noise": 4}
"""The steps of these cases ..."""
FEW = 2
"""... and of all others."""

_STEP = re.compile(r"(.+)-step-([1-9]\d*)")


def name_of(case: str, step: int) -> str:
    """The name of a step of a case, from 1 on."""
    return f"{case}-step-{step}"


def parts_of(name: str) -> tuple[str, int]:
    """The case and the step in a name; step 0 of a name that says none."""
    found = _STEP.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 0)


def frames(
    inputs: tuple[TensorSpec, ...], state: Mapping[str, str], names: Iterable[str] = cases.CASES
) -> Cases:
    """What is fed at each step of these cases; state is zeros until it is `unrolled`.

    Raises UnknownName.
    """
    fed = tuple(spec for spec in inputs if spec.name not in state)
    first = first_state(inputs, state)
    return {
        name_of(name, step): {**tensors, **first}
        for name in names
        for step in range(1, STEPS.get(name, FEW) + 1)
        for tensors in cases.build(fed, (name,), step - 1).values()
    }


def frames_of_folder(
    folder: Path, inputs: tuple[TensorSpec, ...], state: Mapping[str, str]
) -> Cases:
    """The pictures of a folder as the steps of one sequence, in order of their names.

    Raises BadPicture.
    """
    fed = tuple(spec for spec in inputs if spec.name not in state)
    found = cases.of_folder(folder, fed)
    first = first_state(inputs, state)
    return {
        name_of(name, number): {**tensors, **first}
        for number, (name, tensors) in enumerate(found.items(), 1)
    }


def follows(name: str, before: str) -> bool:
    """Whether a step goes on from the one that stands before it."""
    number = parts_of(name)[1]
    return number > 1 and parts_of(before)[1] == number - 1


def unrolled(program: Program, steps: Mapping[str, Tensors]) -> tuple[Cases, Cases]:
    """Steps with the program's own state in them, and what it makes of each."""
    from converters.reference import ReferenceRunner

    runner, state = ReferenceRunner(program), program.spec.state
    given: Cases = {}
    made: Cases = {}
    before = ""
    for name, tensors in steps.items():
        held = fed_back(state, made[before]) if follows(name, before) else {}
        given[name] = {**tensors, **held}
        made[name] = runner.run(given[name])
        before = name
    return given, made


def along(program: Program, pictures: Iterable[Tensors]) -> Iterator[Tensors]:
    """Inputs with a state that is in use: every four in turn are one sequence."""
    from converters.reference import ReferenceRunner

    spec, runner = program.spec, ReferenceRunner(program)
    first = first_state(spec.inputs, spec.state)
    held: Tensors = first
    for number, tensors in enumerate(pictures):
        given = {**tensors, **(held if number % STEPS["photo"] else first)}
        yield given
        held = fed_back(spec.state, runner.run(given))
