"""Nets that nobody changed for us: some of each kind here, and all of them by `make slow`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.converters.wild import kept, limits, records
from tests.converters.wild.catalogue import NETS
from tests.converters.wild.kept import KeptWorker
from tests.converters.wild.measure import anywhere, measure, share
from tests.converters.wild.records import EXACT, Outcome, Record, allowed, rounded
from tests.converters.wild.table import PAGE, page

# What libraries warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

FAST = (
    *("srvgg", "conv-gru", "rtmpose", "bisenet-v2", "diffusion-unet", "crnn", "lstm-tagger"),
    *("style", "mnasnet", "inception-next", "bert", "sam-decoder", "superpoint"),
    *("mobilenet-v3-small", "clip-vision"),
)
"""Of each kind the quickest; `make slow` builds all."""


@pytest.fixture(autouse=True, scope="module")
def _converters_end() -> Iterator[None]:
    yield
    kept.end()


def check(name: str, out: Path) -> Record:
    """As `python -m tests.converters.wild --only NAME`, with converters that are kept."""
    if not NETS[name].is_here:
        pytest.skip(f"{NETS[name].source} is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("converters.processes.worker.Worker", KeptWorker)
        return measure(name, out)


@pytest.mark.parametrize("name", FAST)
def test_a_net_is_right_on_every_target(name: str, tmp_path: Path) -> None:
    found = check(name, tmp_path)
    assert found.is_whole, found.outcomes
    assert all(one.error <= allowed(found.own) for one in found.outcomes.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETS if name not in FAST])
def test_a_net_is_as_its_record_says(name: str, tmp_path: Path) -> None:
    found = check(name, tmp_path)
    verdicts = {target: one.verdict for target, one in found.outcomes.items()}
    wanted = records.known()[name].outcomes
    assert verdicts == {target: one.verdict for target, one in wanted.items()}, found.outcomes


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(records.known())


def test_every_net_has_a_record_and_those_of_ci_are_right() -> None:
    known = records.known()
    assert known.keys() == NETS.keys()
    assert all(known[name].is_whole for name in FAST)


def test_there_are_sixty_nets_of_each_source() -> None:
    assert len(NETS) >= 60
    assert {net.source for net in NETS.values()} == {
        *("torchvision", "timm", "transformers", "segmentation-models-pytorch", "ultralytics"),
        "paper",
    }


def test_an_error_is_a_share_of_the_range() -> None:
    wanted = torch.tensor([1.0, 3.0], dtype=torch.float64)
    assert share(torch.tensor([1.0, 3.0]), wanted) == 0
    assert share(torch.tensor([1.5, 3.0]), wanted) == 0.25


@pytest.mark.parametrize("bad", [[1.0], [1.0, float("nan")], [[1.0, 3.0]]])
def test_what_is_no_answer_is_wrong(bad: list) -> None:
    wanted = torch.tensor([1.0, 3.0], dtype=torch.float64)
    assert share(torch.tensor(bad), wanted) > allowed(1e-3)


def test_a_place_is_said_without_the_folders_of_this_machine() -> None:
    assert anywhere(f"{Path(__file__).parent}/wild/nets/rvm.py:9") == (
        "tests/converters/wild/nets/rvm.py:9"
    )
    assert anywhere(f"{Path(torch.__file__).parent}/nn/x.py:3") == "torch/nn/x.py:3"


def test_of_labels_the_share_counts_that_differ() -> None:
    assert share(torch.tensor([1, 2, 3, 5]), torch.tensor([1, 2, 3, 4])) == 0.25


def test_a_net_that_rounds_more_may_differ_by_more() -> None:
    assert allowed(0.0) == EXACT
    assert allowed(1e-3) == 4e-3


def record(verdict: str, **facts: object) -> Record:
    right = Outcome("right", 1e-6, 1.25, 1)
    outcomes = {"ios": right, "android": right, "web": Outcome(verdict, **facts)}
    return Record("srvgg", "", 90_000, 1e-7, 2.0, 3.0, outcomes)


def test_a_record_comes_back_from_its_file(tmp_path: Path) -> None:
    given = rounded(record("right", notes=("a note",)))
    records.store(given, tmp_path)
    assert records.known(tmp_path) == {"srvgg": given}


def test_the_page_counts_what_is_right_on_all_three_only() -> None:
    assert "**1 of 1** are right" in page({"srvgg": record("right")})
    refused = page({"srvgg": record("refused", said="no | such operation")})
    assert "**0 of 1** are right on all three targets; wrong files: 0" in refused
    assert "| srvgg | web | no &#124; such operation |" in refused
    assert "wrong files: 1" in page({"srvgg": record("wrong")})


def run(code: str, seconds: float = 60, gigabytes: float = 4) -> limits.Ended:
    return limits.run([sys.executable, "-c", code], dict(os.environ), seconds, gigabytes)


def test_a_process_that_ends_well_says_nothing() -> None:
    assert run("print(1)").why == ""


def test_a_process_that_fails_says_its_last_line() -> None:
    assert run("raise SystemExit('no such net')").why == "ended with status 1: no such net"


def test_a_process_is_ended_with_its_children_when_its_time_is_over(tmp_path: Path) -> None:
    child = f"import time; time.sleep(3); open({str(tmp_path / 'late')!r}, 'w')"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert run(code, seconds=1).why == "not done after 1 s"
    time.sleep(3)
    assert not (tmp_path / "late").exists()


def test_a_process_that_takes_too_much_memory_is_ended() -> None:
    code = "import time; held = bytearray(b'x' * 400_000_000); time.sleep(60)"
    ended = run(code, gigabytes=0.2)
    assert ended.why == "took more than 0.2 GB"
    assert ended.seconds < 30
