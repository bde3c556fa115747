"""What `mlship build` prints of bundles, and what others print of what was not built."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from benchmarks.measure.units import bytes_text
from toolchain.build.request import Built
from toolchain.bundle.parity_report import ParityReport, ParityRow, Question
from toolchain.parity.lines import lines
from toolchain.report import plain, terminal

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

MOST_ROWS = 40


def build_table(results: Sequence[Built]) -> Table:
    """One line a bundle: where it is, its size, and how parity went."""
    made = terminal.table("", "bundle", "artifact", "size", "recipe", "parity", right=("size",))
    for built in results:
        made.add_row(*_build_row(built))
    return made


def _build_row(built: Built) -> tuple[str | Text, ...]:
    name = f"{built.model}-{built.target}"
    if built.bundle is None:
        verdict = "FAILED" if built.error is None else "not built"
        return name, "-", "-", "-", terminal.styled((verdict, "red"))
    manifest = built.bundle.manifest
    return (
        terminal.styled(str(built.bundle.directory), (" (cached)" if built.cached else "", "dim")),
        str(manifest.artifact.path),
        bytes_text(built.bundle.artifact_bytes),
        manifest.recipe.name,
        parity_summary(built),
    )


def show_unbuilt(results: Iterable[Built]) -> None:
    """Say of each what it was not built for, on standard error."""
    for built in results:
        reason = built.error or "; ".join(built.report.problems if built.report else ())
        plain.say(f"{built.model}-{built.target} was not built: {reason}", fg="red", err=True)


def parity_summary(built: Built) -> str:
    """`litert: 15 passed; accurate: 1.6e-03 of 1e-02; faithful: 6.0e-08 of 3e-06`."""
    report = built.report
    if report is None:
        return "-"
    counted = {v: sum(row.verdict == v for row in report.rows) for v in terminal.MARKS}
    counts = ", ".join(f"{n} {v}" for v, n in counted.items() if n)
    margins = (_margin(report, question) for question in report.questions)
    return "\n".join([f"{counts} on {', '.join(report.required)}", *filter(None, margins)])


def _margin(report: ParityReport, question: Question) -> str:
    worst = report.worst_of(question)
    return f"{question}, worst {worst.error:.1e} of {worst.tolerance:.0e}" if worst else ""


def case_table(rows: Sequence[ParityRow]) -> Table:
    """Backend x case x output; only the worst case of each output where there are many."""
    title = "parity with PyTorch"
    if len(rows) > MOST_ROWS:
        title += f" (the worst case of each output; --json has all {len(rows)} rows)"
        rows = [line.worst for line in lines(rows)]
    right = ("error", "tolerance")
    made = terminal.table(
        *(title, "backend", "case", "output", "question", *right, "verdict", "note"), right=right
    )
    for row in rows:
        made.add_row(
            row.backend,
            row.case,
            row.output,
            row.question,
            _number(row.error),
            _number(row.tolerance),
            terminal.styled(terminal.MARKS[row.verdict]),
            row.note + (f" {row.where}" if row.verdict == "failed" and row.where else ""),
        )
    return made


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2e}"
