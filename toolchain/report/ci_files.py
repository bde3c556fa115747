"""The files of `mlship ci --report DIR`: report.html, .json, .md, junit.xml, new pictures."""

from __future__ import annotations

import json
from pathlib import Path

from toolchain.bundle.files import write_whole
from toolchain.ci import snapshots
from toolchain.ci.checks import Check
from toolchain.ci.run import CiRun
from toolchain.report.ci_markdown import markdown
from toolchain.report.ci_page import page
from toolchain.report.ci_text import verdicts
from toolchain.report.junit import JUnitCase, junit


def write(folder: Path, ran: CiRun) -> None:
    """Write them all. Raises CannotWrite."""
    write_whole(folder / "report.json", json.dumps(ran.to_json(), indent=1) + "\n")
    write_whole(folder / "junit.xml", xml(ran))
    write_whole(folder / "report.md", markdown(ran))
    write_whole(folder / "report.html", page(ran))
    snapshots.keep(folder / snapshots.FOLDER, ran.snapshots)


def xml(ran: CiRun) -> str:
    """JUnit's: a suite for each bundle, a test case for each check."""
    names = verdicts(ran)
    suites = {name: [_case(c) for c in ran.checks if c.bundle == name] for name in names}
    return junit("mlship ci", suites)


def _case(check: Check) -> JUnitCase:
    """A required check that is skipped fails."""
    if check.verdict == "failed" or (check.verdict == "skipped" and check.required):
        return JUnitCase(check.bundle, check.name, "failed", check.sentence)
    if check.verdict == "skipped":
        return JUnitCase(check.bundle, check.name, "skipped", check.why)
    said = check.sentence if check.verdict == "warned" else ""
    return JUnitCase(check.bundle, check.name, "passed", said)
