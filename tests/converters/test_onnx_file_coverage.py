"""ONNX's own vectors, read as files: none is wrong, and the committed table is current."""

from __future__ import annotations

import pytest

from tests.converters.onnx_file_vectors import TABLE, Outcome, outcomes, table


@pytest.fixture(scope="module")
def found() -> list[Outcome]:
    return outcomes()


def test_no_vector_gives_a_wrong_number(found: list[Outcome]) -> None:
    assert sum(one.verdict == "passed" for one in found) > 1000
    assert [one for one in found if one.verdict == "wrong"] == []


def test_the_committed_table_is_current(found: list[Outcome]) -> None:
    assert TABLE.read_text() == table(found), "run python -m tests.converters.onnx_file_vectors"
