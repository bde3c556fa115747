"""The table of operations is current, and what is not in it is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from mil_coverage import OPSETS, TABLE, WHY_NOT, Coverage, coverage, table
from mil_mutation import edit, operation

from converters import mil
from converters.mil.ops import OPS
from model_defs.errors import UnsupportedOperation


@pytest.fixture(scope="module")
def rows() -> list[Coverage]:
    return coverage()


def test_the_table_is_current(rows: list[Coverage]) -> None:
    assert TABLE.read_text() == table(rows), "run python -m tests.converters.mil.mil_coverage"


def test_every_argument_of_what_is_executed_is_taken(rows: list[Coverage]) -> None:
    assert not [(r.name, o) for r in rows for o, (_, lacking) in r.arguments.items()
                if r.executed and lacking]  # fmt: skip


def test_a_missing_argument_would_be_seen() -> None:
    declared = frozenset({"x", "alpha"})
    row = Coverage("elu", True, {"iOS16": (declared, frozenset({"alpha"}))})
    assert (row.cell("iOS15"), row.cell("iOS16")) == ("", "without alpha")


def test_every_operation_is_named_by_a_test() -> None:
    text = "".join(p.read_text() for p in Path(__file__).parent.glob("test_mil_*.py"))
    written = set(re.findall(r"\"(\w+)\"", text)) | set(re.findall(r"(?:mb|Builder)\.(\w+)", text))
    assert sorted(set(OPS) - written) == []


@pytest.mark.parametrize("name", WHY_NOT)
def test_refuses_what_is_not_executed(name: str, package: Path, image: np.ndarray) -> None:
    edit(package, lambda m: setattr(operation(m, "leaky_relu"), "type", name))
    with pytest.raises(UnsupportedOperation, match=f"operation '{name}' is not executed") as caught:
        mil.open_package(package).main.run({"in_0": image})
    assert f"({name}), opset {OPSETS['iOS16']}" in caught.value.where
    assert TABLE.name in caught.value.do
