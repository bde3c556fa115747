"""The outcome of a parity run as one table: a line for each bundle, backend and output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from converters import backends
from toolchain.build.judge import ParityRun
from toolchain.bundle.parity_report import ParityReport, asked_text
from toolchain.parity.compare import passing
from toolchain.parity.harness import Outcome
from toolchain.parity.lines import Line, absent, lines, ran
from toolchain.parity.metrics import FAMILIES
from toolchain.report import plain, terminal
from toolchain.report.build_table import show_unbuilt

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

UNITS = {metric.name: metric.unit for family in FAMILIES.values() for metric in family}
SHOWN = 2
"""How many metrics a line of the terminal has room for."""


def metric_text(name: str, value: float) -> str:
    """`PSNR 52.1 dB`, `IoU 0.9987`."""
    unit = f" {UNITS[name]}" if UNITS[name] else ""
    return f"{name} {value:.1f}{unit}" if unit else f"{name} {value:.4g}"


def parity_table(outcomes: Sequence[Outcome]) -> Table:
    """The table that `mlship parity` prints."""
    columns = ("bundle", "backend", "output", "question", "cases", "worst case", "error")
    made = terminal.table(
        "parity with PyTorch",
        *(*columns, "tolerance", "metrics", "verdict"),
        right=("cases", "error", "tolerance"),
    )
    for outcome in outcomes:
        name = outcome.subject.name
        for line in ran(outcome.report.rows):
            made.add_row(name, *_cells(line))
            name = ""
    return made


def absences(outcomes: Sequence[Outcome]) -> list[str]:
    """Which backends did not run here and why, each reason once for all bundles."""
    found: dict[str, dict[str, None]] = {}
    for outcome in outcomes:
        for reason, names in absent(outcome.report.rows).items():
            found.setdefault(reason, {}).update(dict.fromkeys(names))
    return [f"skipped: {', '.join(names)}: {reason}" for reason, names in found.items()]


def _cells(line: Line) -> tuple[str | Text, ...]:
    row = line.worst
    why = f" {row.note}" if line.verdict == "skipped" else ""
    shown = [metric_text(n, v) for n, v in list(line.metrics.items())[:SHOWN]]
    return (
        line.backend,
        line.output,
        line.question,
        line.passed,
        row.case if line.verdict != "skipped" else "-",
        "-" if row.error is None else f"{row.error:.1e}",
        "-" if row.tolerance is None else f"{row.tolerance:.1e}",
        ", ".join(shown),
        terminal.styled(terminal.MARKS[line.verdict], (why, "dim")),
    )


def constants_text(report: ParityReport) -> str:
    """`constants: 2,064,048 of 2,064,050 numbers are the program's to the bit`; '' if unknown."""
    found = report.constants
    if found is None:
        return ""
    folded = f", {found.folded:,} are in products" if found.folded else ""
    whole = f"{found.equal:,} of {found.numbers:,} numbers"
    return f"constants: {whole} are the program's to the bit{folded}"


def failures(outcome: Outcome) -> list[str]:
    """What failed, a sentence for each backend and output, and what tolerance would have passed."""
    found = []
    for line in lines(outcome.report.rows):
        if line.verdict != "failed":
            continue
        row = line.worst
        more = sum(r.verdict == "failed" for r in line.rows) - 1
        others = f" (and {more} other cases)" if more else ""
        where = f" {row.where}" if row.where else ""
        hint = next((f"; {r.hint}" for r in line.rows if r.hint), "")
        found.append(
            f"{row.backend}: {asked_text(row)}'{row.output}' on '{row.case}'{others}: "
            f"{row.note}{where}{hint}"
        )
    enough: dict[str, float] = {}
    for row in outcome.report.rows:
        accurate = row.question == "accurate"
        if accurate and row.verdict == "failed" and row.error is not None:
            enough[row.output] = max(enough.get(row.output, 0.0), passing(row.error))
    tolerances = [f"'{o}' would have passed everywhere with {t:.3g}" for o, t in enough.items()]
    wrong = outcome.report.wrong_constants
    return [*wrong, *found, *outcome.report.absences, *tolerances]


def show(parity: ParityRun) -> None:
    """The table, what did not run here, and a sentence for each failure."""
    if any(outcome.report.rows for outcome in parity.outcomes):
        terminal.show(parity_table(parity.outcomes))
    for sentence in absences(parity.outcomes):
        plain.say(sentence)
    for outcome in parity.outcomes:
        subject = outcome.subject
        if subject.reference.name != "PyTorch":
            own = " It was judged by its own words." if subject.program is None else ""
            plain.say(f"note: {subject.name} was compared with its {subject.reference.name}.{own}")
        if not outcome.report.rows:
            kind = subject.artifact.format
            known = ", ".join(b.name for b in backends.of_format(kind))
            plain.say(f"note: {subject.name} is {kind}, which runs on {known}", err=True)
        if said := constants_text(outcome.report):
            plain.say(f"{subject.name}: {said}")
        for sentence in failures(outcome):
            plain.say(f"{subject.name}: {sentence}", fg="red", err=True)
    show_unbuilt(parity.unbuilt)
