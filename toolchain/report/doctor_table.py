"""What `mlship doctor` prints."""

from __future__ import annotations

from toolchain.debug.doctor import EnvironmentCheck
from toolchain.report import terminal


def show(findings: list[EnvironmentCheck]) -> None:
    """The findings as a table."""
    made = terminal.table("", "", "what", "found", "do")
    for finding in findings:
        mark = ("ok", "green") if finding.ok else ("no", "red") if finding.needed else "-"
        made.add_row(terminal.styled(mark), finding.what, finding.found, finding.do)
    terminal.show(made)
