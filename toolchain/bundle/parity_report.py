"""How a bundle was proved: each backend, case and output with its verdict."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["passed", "failed", "skipped"]

Question = Literal["accurate", "faithful", "unrounded"]
"""What is asked of a file. *Accurate*: what it computes is within the product's tolerance of
PyTorch. *Faithful*: it computes the rounded program, what the passes left, to rounding level.
*Unrounded*: the conversion of the model before any pass, not this file, does so of the model."""

GOLDEN = "golden"
"""The backend of rows that say whether a bundle's golden vectors are today's."""


@dataclass(frozen=True)
class ParityRow:
    """One output of one case on one backend, and which question the verdict answers.

    `error` is the largest absolute one, in the output's unit, and `where` its index and values.
    `metrics` are what fits this kind of output (metrics.py), `hint` what a failure looks like
    (hints.py); neither decides the verdict.
    """

    backend: str
    case: str
    output: str
    verdict: Verdict
    error: float | None
    tolerance: float | None
    where: str = ""
    note: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    hint: str = ""
    question: Question = "accurate"


@dataclass(frozen=True)
class ConstantFault:
    """A constant of a file that is not the program's: its name there, its layer, what is wrong."""

    name: str
    layer: str
    what: str

    @property
    def sentence(self) -> str:
        return f"the constant '{self.name}' of {self.layer} is not the program's: {self.what}"


@dataclass(frozen=True)
class ConstantsReport:
    """The numbers in a file beside the program's, without running it.

    Of `numbers` floating-point numbers in constants, `equal` are the program's to the bit, in the
    type that they are stored in, and `folded` are the program's times a factor that a converter
    took in from beside it. The rest belongs to no parameter: a converter computed it.
    """

    numbers: int
    equal: int
    folded: int = 0
    faults: tuple[ConstantFault, ...] = ()


def case_at(case: str, size: str) -> str:
    """What a case is called at a further size; the inverse of `case_and_size`."""
    return f"{case} at {size}"


def case_and_size(name: str) -> tuple[str, str]:
    """A case, and the further size that it is at; "" is the default."""
    found = re.fullmatch(r"(.+) at (\d+x\d+)", name)
    return (found[1], found[2]) if found else (name, "")


@dataclass(frozen=True)
class ParityReport:
    """All rows, and the backends that had to run."""

    rows: tuple[ParityRow, ...]
    required: tuple[str, ...]
    questions: tuple[Question, ...] = ("accurate",)
    constants: ConstantsReport | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the report does not pass; nothing if it does.

        Each required backend must have passed on every output in at least one case, each of
        `questions` must have been answered so, and nothing may have failed.
        """
        return self.wrong_constants + self.failures + self.absences

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence for each comparison that failed."""
        return tuple(_sentence(row) for row in self.rows if row.verdict == "failed")

    @property
    def wrong_constants(self) -> tuple[str, ...]:
        """A sentence for each constant that is not the program's."""
        faults = self.constants.faults if self.constants else ()
        return tuple(fault.sentence for fault in faults)

    @property
    def absences(self) -> tuple[str, ...]:
        """Problems that are no comparison's: what should have been compared and was not."""
        outputs = sorted({row.output for row in self.rows})
        if not outputs:
            return ("nothing was compared",)
        found: list[str] = []
        for size in dict.fromkeys(case_and_size(row.case)[1] for row in self.rows):
            of_size = [row for row in self.rows if case_and_size(row.case)[1] == size]
            found += self._absent(of_size, outputs, f" at {size}" if size else "")
        return (*found, *self._unanswered(outputs))

    def _unanswered(self, outputs: Sequence[str]) -> Iterator[str]:
        """The questions that were asked of an output, and not answered by any case."""
        for question in self.questions:
            rows = [row for row in self.of(question) if row.backend != GOLDEN]
            if not rows:
                yield f"nothing was judged {question}"
                continue
            for output in outputs:
                verdicts = {row.verdict for row in rows if row.output == output}
                if not verdicts:
                    yield f"'{output}' was not judged {question}"
                elif verdicts == {"skipped"} and question != "accurate":
                    yield f"'{output}' was not judged {question} in any case"

    def of(self, question: Question) -> tuple[ParityRow, ...]:
        """The rows that answer a question."""
        return tuple(row for row in self.rows if row.question == question)

    def _absent(self, of_size: Sequence[ParityRow], outputs: Sequence[str], at: str) -> list[str]:
        """The same of one size: what one is proved of says nothing of another."""
        found: list[str] = []
        for backend in self.required:
            rows = [row for row in of_size if row.backend == backend]
            if not rows:
                found.append(f"{backend} did not run{at}")
            for output in outputs:
                verdicts = {row.verdict for row in rows if row.output == output}
                if rows and not verdicts:
                    found.append(f"{backend}: '{output}' was not compared{at}")
                elif verdicts == {"skipped"}:
                    found.append(f"{backend}: '{output}' was skipped in every case{at}")
        return found

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def failed_cases(self) -> list[str]:
        """The cases of which an output failed, each once."""
        return list(dict.fromkeys(row.case for row in self.rows if row.verdict == "failed"))

    @property
    def is_program(self) -> bool:
        """Whether the file computes its program: then what failed, failed of rounding."""
        failed = [row for row in self.rows if row.verdict == "failed"]
        return not self.wrong_constants and all(row.question == "accurate" for row in failed)

    @property
    def worst(self) -> ParityRow | None:
        """Of the rows that say how accurate it is, the one nearest to its tolerance, or beyond."""
        return self.worst_of("accurate")

    def worst_of(self, question: Question) -> ParityRow | None:
        """The row of a question that is nearest to its tolerance, or farthest beyond.

        None where all were skipped.
        """
        compared = (row for row in self.of(question) if row.verdict != "skipped")
        judged = [row for row in compared if row.error is not None and row.tolerance]
        return max(judged, key=_share, default=None)

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "required": list(self.required),
            "questions": list(self.questions),
            "constants": asdict(self.constants) if self.constants else None,
            "rows": [asdict(row) for row in self.rows],
        }


def _share(row: ParityRow) -> float:
    share = (row.error or 0.0) / (row.tolerance or 1.0)
    return share if math.isfinite(share) else float("inf")


def _sentence(row: ParityRow) -> str:
    where = f" {row.where}" if row.where else ""
    hint = f"; {row.hint}" if row.hint else ""
    what = f"'{row.output}' on case '{row.case}'"
    return f"{row.backend}: {asked_text(row)}{what}: {row.note}{where}{hint}"


def asked_text(row: ParityRow) -> str:
    """What a failed row is not, before a sentence on it; '' where the outputs are too far off."""
    return "" if row.question == "accurate" else f"not {row.question}: "
