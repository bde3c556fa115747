"""A parity run as JUnit XML, which CI servers show: a suite for each bundle."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from toolchain.bundle.parity_report import ParityRow
from toolchain.parity.harness import Outcome


def junit(outcomes: Sequence[Outcome]) -> str:
    """A test case for each comparison, and one for each problem that is no comparison's."""
    root = ElementTree.Element("testsuites", name="mlship parity")
    for outcome in outcomes:
        _suite(root, outcome)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: ElementTree.Element, outcome: Outcome) -> None:
    rows = outcome.report.rows
    absent = outcome.report.absences
    failed = sum(row.verdict == "failed" for row in rows) + len(absent)
    skipped = sum(row.verdict == "skipped" for row in rows)
    counts = {"tests": len(rows) + len(absent), "failures": failed, "skipped": skipped}
    suite = ElementTree.SubElement(root, "testsuite", name=outcome.subject.name)
    for name, count in counts.items():
        suite.set(name, str(count))
    for row in rows:
        _case(suite, outcome.subject.name, row)
    for problem in absent:
        case = ElementTree.SubElement(suite, "testcase", classname=outcome.subject.name)
        case.set("name", problem)
        ElementTree.SubElement(case, "failure", message=problem)


def _case(suite: ElementTree.Element, bundle: str, row: ParityRow) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=f"{bundle}.{row.backend}")
    case.set("name", f"{row.output} on {row.case}")
    if row.verdict == "failed":
        text = "; ".join(filter(None, [f"{row.note} {row.where}".strip(), row.hint]))
        ElementTree.SubElement(case, "failure", message=text)
    elif row.verdict == "skipped":
        ElementTree.SubElement(case, "skipped", message=row.note)
