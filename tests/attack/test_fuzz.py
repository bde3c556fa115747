"""Readers of files from outside take or refuse what they are given: nothing else, and at once.

The corpora, and some mutations of them that are the same each time. `python -m tests.attack.fuzz`
goes on from here, guided by coverage.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from model_defs.errors import BadSpec
from tests.attack.fuzz.__main__ import SECONDS
from tests.attack.fuzz.mutations import mutations
from tests.attack.fuzz.targets import TARGETS, FuzzTarget

MUTATIONS = 100
pytestmark = pytest.mark.filterwarnings("ignore")


def replay(target: FuzzTarget, folder: Path, data: bytes) -> bool:
    start = time.process_time()
    took = target(folder, data)
    assert time.process_time() - start < SECONDS
    return took


@pytest.mark.parametrize("name", TARGETS)
def test_a_corpus_and_its_mutations(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    target(tmp_path, target.seeds[0].read_bytes())  # imports what it needs
    for seed in target.seeds:
        assert replay(target, tmp_path, seed.read_bytes()) != seed.name.startswith("refused")
    seeds = [seed.read_bytes() for seed in target.seeds]
    assert sum(map(len, seeds)) < 1 << 14
    taken = [replay(target, tmp_path, data) for data in mutations(seeds, MUTATIONS)]
    assert 0 < sum(taken) < MUTATIONS  # neither the same as before, nor beyond recognition


@pytest.mark.parametrize("said", [{"where": "x"}, {"do": "x"}])
def test_a_refusal_without_a_place_or_a_way_out_is_seen(
    said: dict[str, str], tmp_path: Path
) -> None:
    def read(folder: Path, data: bytes) -> None:
        raise BadSpec("no", **said)

    with pytest.raises(AssertionError, match="says no"):
        FuzzTarget("liar", read, ())(tmp_path, b"")


def test_a_reader_that_falls_is_seen(tmp_path: Path) -> None:
    def read(folder: Path, data: bytes) -> None:
        (folder / "x").write_bytes(data)
        if data[40] != 0:
            raise KeyError("a")

    liar = FuzzTarget("liar", read, ())
    with pytest.raises(IndexError):
        replay(liar, tmp_path, b"short")
    with pytest.raises(KeyError):
        for data in mutations([bytes(80)], MUTATIONS):
            replay(liar, tmp_path, data + bytes(80))
