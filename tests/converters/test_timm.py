"""Networks that nobody here wrote: the committed table is whole, and its small rows are current."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.converters.timm_coverage import HEAD, MEASURED, TABLE, committed, row
from tests.converters.timm_families import FAMILIES, TOLERANCE

SMALL = ("squeezenet", "mobilenet-v2", "shufflenet-v2")
"""Lowered again here; `make slow` lowers them all."""


def test_the_table_has_a_row_for_each_family() -> None:
    rows = committed()
    assert TABLE.read_text().startswith(HEAD.format(tolerance=TOLERANCE))
    assert list(rows) == list(FAMILIES)
    for name, family in FAMILIES.items():
        assert rows[name][1:3] == [family.architecture, str(family.size)]


def test_every_family_gives_pytorchs_numbers() -> None:
    errors = {name: max(map(float, cells[-MEASURED:])) for name, cells in committed().items()}
    assert max(errors.values()) <= TOLERANCE, errors


def test_xnnpack_runs_every_family_in_one_partition() -> None:
    assert {name: cells[5:7] for name, cells in committed().items()} == {
        name: ["1", ""] for name in FAMILIES
    }


def is_current(name: str, directory: Path) -> None:
    found = row(name, directory)
    assert found.cells()[:-MEASURED] == committed()[name][:-MEASURED]
    assert max(found.errors) <= TOLERANCE


@pytest.mark.parametrize("name", SMALL)
def test_a_small_family_is_as_the_table_says(name: str, tmp_path: Path) -> None:
    is_current(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in SMALL])
def test_a_family_is_as_the_table_says(name: str, tmp_path: Path) -> None:
    is_current(name, tmp_path)
