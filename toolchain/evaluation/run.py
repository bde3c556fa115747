"""`mlship eval`: asks a model all questions, and trivial rules the same ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from converters.progress import Say, silent
from toolchain.evaluation import dataset as exams
from toolchain.evaluation.dataset import Answer, Exam, Question
from toolchain.evaluation.subject import opened


@dataclass(frozen=True)
class EvalRow:
    """The means of one answerer's marks over one set of questions."""

    who: str
    set: str
    questions: int
    marks: Mapping[str, float]


@dataclass(frozen=True)
class EvalResult:
    """What came of one examination: the model's rows first, then the trivial ones."""

    model: str
    backend: str
    weights: str
    rows: tuple[EvalRow, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EvalResult:
        return cls(**{**data, "rows": tuple(EvalRow(**row) for row in data["rows"])})


def evaluate(
    what: str,
    *,
    backend: str | None = None,
    weights: Path | None = None,
    file: Path | None = None,
    scenes: int | None = None,
    only: str = "",
    say: Say = silent,
) -> EvalResult:
    """Examines a model or a bundle's folder, a `file` in the place of the bundle's own.

    `scenes` asks about fewer, for a quick look; `only` names the one metric that is wanted.
    Raises UnknownName for one that the examination does not have.
    """
    with opened(what, backend, weights, file) as subject:
        exam = exams.find(subject.name)
        exam = exam.only(only) if only else exam
        questions = list(exam.questions(subject.inputs, scenes or exam.scenes))
        rows: list[EvalRow] = []
        for who, answer in {subject.name: subject.answer, **exam.trivial}.items():
            say(subject.name, f"asking {who}")
            rows += _rows(who, exam, questions, answer)
        say(subject.name, "")
    return EvalResult(subject.name, subject.backend, subject.weights, tuple(rows))


def _rows(who: str, exam: Exam, questions: Iterable[Question], answer: Answer) -> list[EvalRow]:
    """One row a set of questions that have marks."""
    found: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for question in questions:
        if marks := exam.marks(question, answer):
            found[question.set].append(marks)
    return [EvalRow(who, where, len(marks), _means(marks)) for where, marks in found.items()]


def _means(marks: list[Mapping[str, float]]) -> dict[str, float]:
    """Of each metric over the questions to which it applies, to 4 digits."""
    names = dict.fromkeys(name for one in marks for name in one)
    values = {name: [one[name] for one in marks if name in one] for name in names}
    return {name: round(sum(v) / len(v), 4) for name, v in values.items()}


def cell(row: EvalRow, measure: exams.Measure) -> str:
    """A mark as it is printed; - where the metric does not apply."""
    value = row.marks.get(measure.name)
    return "-" if value is None else f"{value:.{measure.digits}f}"
