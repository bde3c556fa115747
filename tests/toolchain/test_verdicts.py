"""What is decided of a check is decided by its fields: its sentences may say anything."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.measure.timing import runtimes
from benchmarks.measure.timing.runtime import Runtime
from model_defs.errors import BadSpec, ConversionFailed, MlshipError, PassFailed
from toolchain.ci.checks import Check, exit_code, not_built
from toolchain.ci.run import CiRun
from toolchain.ci.state import Measurements
from toolchain.ci.update_baseline import updated

LIE = "the baseline has it, and parity is not what failed"


def update(folder: Path, *checks: Check) -> CiRun:
    project: Any = SimpleNamespace(baseline=folder / "baseline.json", snapshots=folder)
    return updated(project, CiRun(Measurements("f", "m", {}), None, checks))


@pytest.mark.parametrize(
    "forgiven",
    [
        Check("a-ios", "bundle", "bundle", "failed", cause="removed", why="anything"),
        Check("a", "photo", "picture", "skipped", cause="new", why="anything"),
        Check("a-ios", "wire_growth", "budget", "failed", cause="over-limit", why="anything"),
        Check("a-ios", "latency_ratio", "budget", "skipped", cause="no-baseline", why="anything"),
    ],
)
def test_a_new_baseline_forgives_what_only_compares_with_the_old_one(
    tmp_path: Path, forgiven: Check
) -> None:
    left = update(tmp_path, forgiven, Check("b-ios", "bundle", "bundle", "passed"))
    assert [check.bundle for check in left.checks] == ["b-ios"]
    assert (tmp_path / "baseline.json").is_file()


@pytest.mark.parametrize(
    "kept",
    [
        Check("a-ios", "bundle", "bundle", "failed", cause="not-built", why=LIE),
        Check("a", "picture x", "picture", "failed", cause="changed", why=LIE),
        Check("a", "picture x", "picture", "failed", cause="removed", why=LIE),
        Check("a-ios", "wire_growth", "parity", "failed", cause="differs", why=LIE),
        Check("a-ios", "wire", "budget", "failed", cause="over-limit", why=LIE),
    ],
)
def test_and_nothing_else_whatever_its_sentence_says(tmp_path: Path, kept: Check) -> None:
    assert update(tmp_path, kept).checks == (kept,)
    assert not (tmp_path / "baseline.json").exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [(BadSpec("no inputs"), 1), (ConversionFailed("it crashed"), 4), (PassFailed("NaN"), 4)],
)
def test_a_tool_that_failed_is_told_from_a_model_that_is_wrong(
    error: MlshipError, code: int
) -> None:
    failed = not_built("a-ios", error)
    assert failed.why == error.what
    assert exit_code([Check("b-ios", "bundle", "bundle", "passed"), failed]) == code
    limit = Check("b-ios", "wire", "budget", "failed", cause="over-limit")
    assert exit_code([failed, limit]) == code


def test_a_check_that_was_not_made_does_not_hide_one_that_failed() -> None:
    skipped = Check("a-ios", "latency", "budget", "skipped", cause="not-measured")
    assert exit_code([skipped]) == 3
    assert exit_code([skipped, Check("a-ios", "wire", "budget", "failed")]) == 1
    assert exit_code([]) == 3


@pytest.mark.parametrize(
    ("check", "judges"),
    [
        (Check("a-ios", "depth on litert", "parity", "failed"), True),
        (Check("a-ios", "parity", "budget", "failed"), True),
        (Check("a-ios", "psnr", "budget", "failed"), True),
        (Check("a-ios", "wire", "budget", "failed"), False),
        (Check("parity", "parity of nothing", "bundle", "failed"), False),
    ],
)
def test_what_judges_accuracy(check: Check, judges: bool) -> None:
    assert check.judges_accuracy is judges


def test_on_one_core_no_runtime_is_timed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: Path, threads: int) -> Any:
        raise AssertionError(path, threads)

    def other(path: Path, threads: int) -> Any:
        raise AssertionError(path, threads)

    def made(cores: int) -> dict[str, Runtime]:
        rows = (("one", load, 1), ("all", load, cores), ("phone-1", other, 1), ("phone", other, 4))
        return {name: Runtime(name, "toy", "", run, threads=n) for name, run, n in rows}

    monkeypatch.setattr(runtimes, "RUNTIMES", made(8))
    assert [r.name for r in runtimes.of_format("toy")] == ["one", "all", "phone-1", "phone"]
    monkeypatch.setattr(runtimes, "RUNTIMES", made(1))
    assert [r.name for r in runtimes.of_format("toy")] == ["one", "phone-1", "phone"]
