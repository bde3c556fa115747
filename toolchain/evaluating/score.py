"""One number for how good a program is, so that what a recipe costs can be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from toolchain.evaluating import exam as exams
from toolchain.evaluating.exam import EXAMS, Measure, Question
from toolchain.evaluating.subject import of_program

if TYPE_CHECKING:
    from converters.api import Program
    from model_defs.spec import TensorSpec


@dataclass(frozen=True)
class Score:
    """A value of the first metric of a model's examination, over held-out scenes."""

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
    def questions(self) -> Sequence[Question]:
        exam = exams.find(self.model)
        found = exam.questions(self.inputs, min(self.scenes, exam.scenes))
        return [question for question in found if question.set == "scenes"]

    def score(self, program: Program) -> Score:
        exam = exams.find(self.model)
        measure = exam.measures[0]
        answer = of_program(program, "").answer
        marks = [exam.marks(question, answer) for question in self.questions]
        values = [mark[measure.name] for mark in marks if measure.name in mark]
        return Score(measure, sum(values) / len(values))


def can_score(model: str) -> bool:
    """Whether there is an examination for a model."""
    return model in EXAMS
