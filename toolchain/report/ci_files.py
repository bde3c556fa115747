"""The files of `mlship ci --report DIR`: report.html, .json, .md, junit.xml, new pictures."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from toolchain.bundle.files import writing
from toolchain.ci import snapshots
from toolchain.ci.checks import Check
from toolchain.ci.run import CiRun
from toolchain.report.ci_page import page
from toolchain.report.ci_text import markdown, verdicts


def write(folder: Path, ran: CiRun) -> None:
    """Write them all. Raises CannotWrite."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(ran.to_json(), indent=1)
        (folder / "report.json").write_text(text + "\n", encoding="utf-8")
        (folder / "junit.xml").write_text(junit(ran), encoding="utf-8")
        (folder / "report.md").write_text(markdown(ran), encoding="utf-8")
        (folder / "report.html").write_text(page(ran), encoding="utf-8")
    snapshots.keep(folder / snapshots.FOLDER, ran.snapshots)


def junit(ran: CiRun) -> str:
    """A suite for each bundle, a test case for each check; a required one that is skipped fails."""
    root = ElementTree.Element("testsuites", name="mlship ci")
    for name in verdicts(ran):
        _suite(root, name, [check for check in ran.checks if check.bundle == name])
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: ElementTree.Element, name: str, checks: list[Check]) -> None:
    counts = {
        "tests": len(checks),
        "failures": sum(map(_fails, checks)),
        "skipped": sum(check.verdict == "skipped" and not _fails(check) for check in checks),
    }
    suite = ElementTree.SubElement(root, "testsuite", name=name)
    for key, count in counts.items():
        suite.set(key, str(count))
    for check in checks:
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=check.name)
        if _fails(check):
            ElementTree.SubElement(case, "failure", message=check.sentence)
        elif check.verdict == "skipped":
            ElementTree.SubElement(case, "skipped", message=check.why)
        elif check.verdict == "warned":
            ElementTree.SubElement(case, "system-out").text = check.sentence


def _fails(check: Check) -> bool:
    return check.verdict == "failed" or (check.verdict == "skipped" and check.required)
