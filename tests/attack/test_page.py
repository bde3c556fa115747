"""docs/attacks.md is what `make attack` measured last, and nothing fell."""

from __future__ import annotations

import json

from tests.attack.__main__ import PAGE, RESULTS, Row, page

KEPT = json.loads(RESULTS.read_text(encoding="utf-8"))
ROWS = [Row(**row) for row in KEPT["rows"]]


def test_the_page_is_of_the_results() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(ROWS, KEPT["when"])


def test_each_part_was_tried_and_nothing_fell() -> None:
    assert {row.part for row in ROWS} == {"manifests", "faults", "kills", "builds"}
    assert not [said for row in ROWS for said in row.fell]


def test_what_fell_is_named() -> None:
    row = Row("kills", "of `mlship x`", 2, "2 killed", ["x at rename 1: torn"], "abc")
    assert "| 2 killed | 1 | abc |" in page([row], "today")
    assert "- x at rename 1: torn" in page([row], "today")
