"""What `mlship doctor` prints."""

from __future__ import annotations

from toolchain.debug.doctor import EnvironmentCheck
from toolchain.report import terminal


def show(findings: list[EnvironmentCheck]) -> None:
    """The findings as a table."""
    made = terminal.table("", "", "what", "found", "do")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else ("[red]no[/]" if finding.needed else "-")
        made.add_row(mark, finding.what, finding.found, finding.do)
    terminal.show(made)
