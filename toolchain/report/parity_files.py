"""The files of `mlship parity --report DIR`: report.html, report.json, junit.xml."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolchain.bundle.files import write_whole
from toolchain.bundle.parity_report import Verdict
from toolchain.parity.harness import Outcome
from toolchain.report.junit import JUnitCase, junit
from toolchain.report.parity_page import page


def write(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """Write all three. Raises CannotWrite."""
    text = json.dumps([outcome.to_json() for outcome in outcomes], indent=2)
    write_whole(folder / "report.json", text + "\n")
    write_whole(folder / "junit.xml", xml(outcomes))
    write_whole(folder / "report.html", page(outcomes))


def xml(outcomes: Sequence[Outcome]) -> str:
    """JUnit's: a suite for each bundle."""
    suites = {outcome.subject.name: list(_cases(outcome)) for outcome in outcomes}
    return junit("mlship parity", suites)


def _cases(outcome: Outcome) -> Iterator[JUnitCase]:
    """A test case for each comparison, and one for each problem that is no comparison's."""
    bundle = outcome.subject.name
    for row in outcome.report.rows:
        failed = "; ".join(filter(None, [f"{row.note} {row.where}".strip(), row.hint]))
        said = {"passed": "", "failed": failed, "skipped": row.note}[row.verdict]
        group, name = f"{bundle}.{row.backend}", f"{row.output} on {row.case}, {row.question}"
        yield JUnitCase(group, name, row.verdict, said)
    constants = outcome.report.constants
    if constants is not None:
        said = "; ".join(outcome.report.wrong_constants)
        verdict: Verdict = "failed" if constants.faults else "passed"
        yield JUnitCase(bundle, "constants are the program's", verdict, said)
    for problem in outcome.report.absences:
        yield JUnitCase(bundle, problem, "failed", problem)
