"""ONNX's own vectors: none gives a wrong number, and the committed table says what they give."""

from __future__ import annotations

import pytest

from tests.converters.lowering.node_vectors import TABLE, Outcome, outcomes, table


@pytest.fixture(scope="module")
def found() -> dict[str, list[tuple[str, Outcome]]]:
    return outcomes()


def test_no_vector_gives_a_wrong_number(found: dict[str, list[tuple[str, Outcome]]]) -> None:
    results = [(name, result) for rows in found.values() for name, result in rows]
    assert sum(result.verdict == "passed" for _, result in results) > 400
    assert [name for name, result in results if result.verdict == "wrong"] == []


def test_the_committed_table_is_current(found: dict[str, list[tuple[str, Outcome]]]) -> None:
    assert TABLE.read_text() == table(found), "run python -m tests.converters.lowering.node_vectors"
