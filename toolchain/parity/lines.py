"""The rows of a parity run by backend, output and question, with the worst of the cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from toolchain.bundle.parity_report import ParityRow, Question
from toolchain.parity.metrics import FAMILIES

WORST = {metric.name: metric.worst for family in FAMILIES.values() for metric in family}


@dataclass(frozen=True)
class Line:
    """All cases of one output on one backend, of one question; `worst` is shown for them."""

    backend: str
    output: str
    question: Question
    rows: tuple[ParityRow, ...]

    @property
    def verdict(self) -> str:
        """Failed if any failed, passed if any passed, else skipped."""
        verdicts = {row.verdict for row in self.rows}
        return next(v for v in ("failed", "passed", "skipped") if v in verdicts)

    @property
    def worst(self) -> ParityRow:
        order = {"failed": 2, "passed": 1, "skipped": 0}

        def rank(row: ParityRow) -> tuple[int, float]:
            error = float("inf") if row.error is None else row.error
            return order[row.verdict], error / (row.tolerance or 1.0)

        return max(self.rows, key=rank)

    @property
    def passed(self) -> str:
        """`11 of 11 cases`; constant ones, which prove nothing, are not counted."""
        judged = [row for row in self.rows if row.verdict != "skipped"]
        good = sum(row.verdict == "passed" for row in judged)
        return f"{good} of {len(judged)}" if judged else "-"

    @property
    def metrics(self) -> dict[str, float]:
        """Each metric's worst value over the cases."""
        return worst_metrics(self.rows)


def worst_metrics(rows: Iterable[ParityRow]) -> dict[str, float]:
    """Metric -> its worst value over all rows that have it."""
    found: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.metrics.items():
            found.setdefault(name, []).append(value)
    return {name: WORST[name](values) for name, values in found.items()}


def lines(rows: Iterable[ParityRow]) -> list[Line]:
    """The rows by backend, output and question, in the order of their first appearance."""
    grouped: dict[tuple[str, str, Question], list[ParityRow]] = {}
    for row in rows:
        grouped.setdefault((row.backend, row.output, row.question), []).append(row)
    return [Line(*key, tuple(found)) for key, found in grouped.items()]


def absent(rows: Iterable[ParityRow]) -> dict[str, tuple[str, ...]]:
    """Why backends did not run here at all -> which; each reason once."""
    found = list(rows)
    ran = {row.backend for row in found if row.verdict != "skipped" or row.error is not None}
    reasons: dict[str, list[str]] = {}
    for row in found:
        if row.backend not in ran:
            names = reasons.setdefault(row.note.replace(f"{row.backend} runs", "they run"), [])
            if row.backend not in names:
                names.append(row.backend)
    return {reason: tuple(names) for reason, names in reasons.items()}


def ran(rows: Sequence[ParityRow]) -> list[Line]:
    """The lines of the backends that did run."""
    away = {name for names in absent(rows).values() for name in names}
    return lines(row for row in rows if row.backend not in away)
