"""What a bundle's golden vectors are off by is held to what it was off by when it was proved."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from own_models import Two
from safetensors.numpy import load_file, save_file

from tests.toolchain.manifests import resealed
from toolchain.bundle import bundle as bundles
from toolchain.bundle.parity_report import ParityReport, ParityRow
from toolchain.parity.harness import judge_golden
from toolchain.parity.proved import as_proved

ROW = ParityRow("litert", "photo", "mask", "passed", 0.0003, 0.02)


def verdict(row: ParityRow, then: ParityRow = ROW) -> str:
    return as_proved(ParityReport((row,), ()), ParityReport((then,), ())).rows[0].verdict


@pytest.mark.parametrize("error", [0.0, 0.0003, 0.0025])
def test_what_another_machine_is_off_by_passes(error: float) -> None:
    assert verdict(replace(ROW, error=error)) == "passed"


def test_what_is_much_farther_off_than_then_fails_below_the_tolerance() -> None:
    (row,) = as_proved(ParityReport((replace(ROW, error=0.01),), ()), ParityReport((ROW,), ())).rows
    assert row.verdict == "failed"
    assert row.note == "off by 0.01, and by 0.0003 when it was proved"


@pytest.mark.parametrize(
    "then",
    [
        replace(ROW, case="noise"),
        replace(ROW, output="depth"),
        replace(ROW, question="faithful"),
        replace(ROW, error=None),
        replace(ROW, error=0.009),
    ],
)
def test_only_the_same_comparison_counts(then: ParityRow) -> None:
    assert verdict(replace(ROW, error=0.01), then) == "passed"


def test_another_backend_is_held_to_the_worst_of_then() -> None:
    then = (replace(ROW, backend="a", error=0.01), replace(ROW, backend="b", error=0.001))
    now = replace(ROW, backend="c", error=0.012)
    (row,) = as_proved(ParityReport((now,), ()), ParityReport(then, ())).rows
    assert row.verdict == "passed"


@pytest.mark.parametrize(
    "row",
    [
        replace(ROW, verdict="skipped", error=None),
        replace(ROW, error=0.01, question="faithful"),
        replace(ROW, error=0.01, tolerance=None),
    ],
)
def test_other_rows_stay(row: ParityRow) -> None:
    assert verdict(row, replace(row, error=0.0)) == row.verdict


def test_golden_answers_changed_by_half_a_tolerance_are_seen(two: Two, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(two.bundles["ios"].directory, tmp_path / "b"))
    assert judge_golden(bundles.read(folder)).report.ok
    path = folder / "golden" / "photo.safetensors"
    stored = load_file(path)
    save_file({name: x + 0.01 * (name == "mask") for name, x in stored.items()}, path)
    failures = judge_golden(bundles.read(resealed(folder))).report.failures
    assert failures
    assert all("'mask' on case 'photo': off by 0.01" in said for said in failures), failures
