"""Networks that nobody here wrote, as Core ML packages: the table holds, small rows are current."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.converters.timm_coreml import HEAD, MEASURED, TABLE, committed, limits, row
from tests.converters.timm_families import FAMILIES

SMALL = ("mobilenet-v2", "mobilenet-v3")
"""Converted again here; `make slow` converts them all."""


def test_the_small_ones_have_rows() -> None:
    assert set(SMALL) <= committed().keys()


def test_the_rows_are_of_families_in_their_order() -> None:
    rows = committed()
    assert TABLE.read_text().startswith(HEAD)
    assert list(rows) == [name for name in FAMILIES if name in rows]
    for name, cells in rows.items():
        assert cells[1:3] == [FAMILIES[name].architecture, str(FAMILIES[name].size)]


def test_every_family_gives_pytorchs_numbers() -> None:
    for name, cells in committed().items():
        errors = map(float, cells[-MEASURED:])
        assert all(e <= limit for e, limit in zip(errors, limits(name), strict=True)), name


def is_current(name: str, directory: Path) -> None:
    found = row(name, directory)
    if name in committed():
        assert found.cells()[:-MEASURED] == committed()[name][:-MEASURED]
    exact, half = limits(name)
    assert found.exact <= exact
    assert found.half <= half


@pytest.mark.parametrize("name", SMALL)
def test_a_small_family_is_as_the_table_says(name: str, tmp_path: Path) -> None:
    is_current(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in SMALL])
def test_a_family_is_as_the_table_says(name: str, tmp_path: Path) -> None:
    is_current(name, tmp_path)
