"""ONNX's own vectors: none gives a wrong number, and the committed table says what they give."""

from __future__ import annotations

import pytest

from converters.lowering.call import Target
from tests.converters.lowering.node_vectors import TABLE, TARGETS, Found, outcomes, table


@pytest.fixture(scope="module")
def found() -> dict[Target, Found]:
    return {target: outcomes(target) for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS)
def test_no_vector_gives_a_wrong_number(found: dict[Target, Found], target: Target) -> None:
    results = [(name, result) for rows in found[target].values() for name, result in rows]
    assert sum(result.verdict == "passed" for _, result in results) > 500
    assert [name for name, result in results if result.verdict == "wrong"] == []


def test_the_committed_table_is_current(found: dict[Target, Found]) -> None:
    assert TABLE.read_text() == table(found), "run python -m tests.converters.lowering.node_vectors"
