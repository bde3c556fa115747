"""JUnit XML, which CI servers show, of any checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from benchmarks.measure.templates import legible


@dataclass(frozen=True)
class JUnitCase:
    """A test case, and what to say of one that did not pass; of one that did, a warning."""

    group: str
    name: str
    verdict: Literal["passed", "failed", "skipped"]
    said: str = ""


def junit(title: str, suites: Mapping[str, Sequence[JUnitCase]]) -> str:
    """The document; it is valid XML whatever the names hold."""
    root = ElementTree.Element("testsuites", name=legible(title))
    for name, cases in suites.items():
        verdicts = [case.verdict for case in cases]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=legible(name),
            tests=str(len(cases)),
            failures=str(verdicts.count("failed")),
            skipped=str(verdicts.count("skipped")),
        )
        for case in cases:
            _add(suite, case)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add(suite: ElementTree.Element, case: JUnitCase) -> None:
    names = {"classname": legible(case.group), "name": legible(case.name)}
    made = ElementTree.SubElement(suite, "testcase", names)
    said = legible(case.said)
    if case.verdict == "failed":
        ElementTree.SubElement(made, "failure", message=said)
    elif case.verdict == "skipped":
        ElementTree.SubElement(made, "skipped", message=said)
    elif said:
        ElementTree.SubElement(made, "system-out").text = said
