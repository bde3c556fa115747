"""One number for how good a program is, so that what a recipe costs can be said."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from converters.reference import ReferenceRunner
from toolchain.data import calibration
from toolchain.evaluation import dataset as exams
from toolchain.evaluation.dataset import EXAMS, Exam, Measure, Question
from toolchain.evaluation.subject import of_program
from toolchain.recipes.pass_report import MODEL, Examine

if TYPE_CHECKING:
    from converters.api import Program
    from model_defs.spec import TensorSpec


@dataclass(frozen=True)
class Score:
    """A value of the metric that compares builds of a model, over held-out scenes."""

    measure: Measure
    value: float

    def drop(self, other: Score) -> float:
        """What the other one lost, as a share of this one; below zero where it is better."""
        lost = self.value - other.value if self.measure.higher else other.value - self.value
        return lost / abs(self.value) if self.value else 0.0


@dataclass(frozen=True)
class Examiner:
    """Asks programs of one model the same questions; `scenes` at most, without photographs."""

    model: str
    inputs: tuple[TensorSpec, ...]
    scenes: int

    @cached_property
    def exam(self) -> Exam:
        return exams.find(self.model).comparing

    @cached_property
    def questions(self) -> Sequence[Question]:
        found = self.exam.questions(self.inputs, min(self.scenes, self.exam.scenes))
        return [question for question in found if question.set == "scenes"]

    @property
    def measure(self) -> Measure:
        return self.exam.measures[0]

    def score(self, program: Program) -> Score:
        answer, name = of_program(program, "").answer, self.measure.name
        marks = [self.exam.marks(question, answer) for question in self.questions]
        values = [mark[name] for mark in marks if name in mark]
        return Score(self.measure, sum(values) / len(values))


LIKENESS = Measure("PSNR to the model", "dB", digits=1)
CEILING = 99.0
"""The PSNR that is said of equal outputs, in dB."""


@dataclass(frozen=True)
class Likeness:
    """Judges programs by how near their outputs are to a model's, where no examination is known."""

    model: Program
    measure: Measure = LIKENESS

    @cached_property
    def inputs(self) -> Sequence[Mapping[str, np.ndarray]]:
        return calibration.inputs_for(self.model.spec)[::2]

    @cached_property
    def expected(self) -> Sequence[Mapping[str, np.ndarray]]:
        return [ReferenceRunner(self.model).run(given) for given in self.inputs]

    def score(self, program: Program) -> Score:
        """The least PSNR of an output, of its range over all inputs."""
        got = [ReferenceRunner(program).run(given) for given in self.inputs]
        values = []
        for spec in program.spec.outputs:
            want, have = (np.stack([one[spec.name] for one in o]) for o in (self.expected, got))
            noise = float(np.mean(np.square(want - have, dtype=np.float64)))
            peak = float(np.ptp(want)) or 1.0
            values.append(min(CEILING, 10 * math.log10(peak**2 / max(noise, 1e-30))))
        return Score(self.measure, min(values))


class Scorer(Protocol):
    """Gives programs of one model their scores."""

    @property
    def measure(self) -> Measure: ...

    def score(self, program: Program) -> Score: ...


def judge_of(program: Program, scenes: int) -> Scorer:
    """The examination of a model of the zoo; for any other, likeness to the program itself."""
    name = program.spec.name
    if name not in EXAMS:
        return Likeness(program)
    return Examiner(name, of_program(program, "").inputs, scenes)


SCENES = 12
"""How many held-out scenes a model is asked about after each pass."""


def examiner(model: Program, say: Callable[[str], None]) -> Examine:
    """The first metric of the model's examination, else the outputs' likeness to the model's."""
    judge = judge_of(model, SCENES)

    def examine(after: str, program: Program) -> Mapping[str, float]:
        say(f"examining it {after}" if after == MODEL else f"examining it after {after}")
        return {judge.measure.name: round(judge.score(program).value, 4)}

    return examine
