"""The files of `mlship parity --report DIR`: report.html, report.json, junit.xml."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from toolchain.bundle.files import writing
from toolchain.parity.harness import Outcome
from toolchain.report.junit import junit
from toolchain.report.parity_page import page


def write(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """Write all three. Raises CannotWrite."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps([outcome.to_json() for outcome in outcomes], indent=2)
        (folder / "report.json").write_text(text + "\n", encoding="utf-8")
        (folder / "junit.xml").write_text(junit(outcomes), encoding="utf-8")
        (folder / "report.html").write_text(page(outcomes), encoding="utf-8")
