"""Each of the 87 faults is caught where it can be: by the lock, by the model, by the bundle itself.

Of the runs, which take seconds, CI makes every fifth: `python -m tests.attack faults` makes all.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_models import Two

from tests.attack.faults import BundleFault, all_of
from tests.attack.judging import FaultJudge

PARTS = 5


@pytest.fixture(scope="module")
def judge(two: Two) -> FaultJudge:
    return FaultJudge(two)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "bundle"
    shutil.rmtree(tmp_path / "bundle", ignore_errors=True)


def test_there_are_87(two: Two) -> None:
    found = all_of(two)
    assert len(found) == 87
    assert len({(fault.name, fault.target) for fault in found}) == 87


def test_verify_catches_each(two: Two, judge: FaultJudge, tmp_path: Path) -> None:
    missed = []
    for number, fault in enumerate(all_of(two)):
        if not judge.locked(judge.faulty(fault, tmp_path / str(number))):
            missed.append(fault.name)
    assert not missed


@pytest.mark.parametrize("number", range(87)[::PARTS])
def test_the_model_and_the_bundle_itself_catch_what_they_can(
    number: int, two: Two, judge: FaultJudge, folder: Path
) -> None:
    fault: BundleFault = all_of(two)[number]
    faulty = judge.faulty(fault, folder)
    assert judge.by_model(faulty) or not fault.computes, fault.name
    assert judge.inspected(faulty) or not fault.seen, fault.name


@pytest.mark.parametrize("target", ["ios", "android", "web"])
def test_a_good_bundle_is_caught_by_nothing(
    target: str, two: Two, judge: FaultJudge, folder: Path
) -> None:
    shutil.copytree(two.bundles[target].directory, folder)
    assert not judge.locked(folder)
    assert not judge.by_model(folder)
    assert not judge.inspected(folder)


def test_what_was_not_sealed_again_is_caught_by_inspect(
    two: Two, judge: FaultJudge, folder: Path
) -> None:
    shutil.copytree(two.bundles["web"].directory, folder)
    (folder / "mlship.mjs").write_text("// other code")
    assert judge.inspected(folder)
