"""Networks that nobody here wrote, as Core ML packages: the table holds, small rows are current."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.converters.timm_coreml import HEAD, MEASURED, TABLE, committed, row, sound
from tests.converters.timm_families import FAMILIES

SMALL = ("mobilenet-v2", "mobilenet-v3")
"""Converted again here; `make slow` converts them all."""


def test_every_family_has_its_row() -> None:
    rows = committed()
    assert TABLE.read_text().startswith(HEAD)
    assert list(rows) == list(FAMILIES)
    for name, cells in rows.items():
        assert cells[1:3] == [FAMILIES[name].architecture, str(FAMILIES[name].size)]


def test_every_family_gives_pytorchs_numbers() -> None:
    for name, cells in committed().items():
        assert sound([float(cell) for cell in cells[-MEASURED:]]), name


def test_more_than_pytorchs_own_error_fails() -> None:
    assert sound((5e-5, 4e-5, 9e-2, 1e-1))
    assert not sound((5e-5, 2e-5, 9e-2, 1e-1))
    assert not sound((1e-6, 1e-6, 9e-2, 1e-2))


def is_current(name: str, directory: Path) -> None:
    found = row(name, directory)
    assert found.cells()[:-MEASURED] == committed()[name][:-MEASURED]
    assert sound(found.errors), found


@pytest.mark.parametrize("name", SMALL)
def test_a_small_family_is_as_the_table_says(name: str, tmp_path: Path) -> None:
    is_current(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in SMALL])
def test_a_family_is_as_the_table_says(name: str, tmp_path: Path) -> None:
    is_current(name, tmp_path)
