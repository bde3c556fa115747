"""Clean reruns raise no false alarm: RERUNS=50 pytest -m slow tests/toolchain/test_ci_reruns.py."""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from own_models import TWO

from benchmarks.measure.timing.session import MODES
from toolchain.bundle import bundle
from toolchain.ci import latency, state
from toolchain.cli.main import main

LIMIT = 1.1
RERUNS = int(os.environ.get("RERUNS", "50"))


@pytest.mark.slow
def test_clean_reruns_raise_no_false_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unchanged file timed anew, half of the times side by side with itself, half of them
    against milliseconds of an earlier run, as if its bytes had changed.
    """
    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "net.py").write_text(TWO.replace("32, 48", "192, 192"))
    asked = ["build", f"{tmp_path}/net.py:spec", "--target", "android", "--target", "web"]
    assert CliRunner().invoke(main, [*asked, "--out", str(tmp_path)]).exit_code == 0
    found = [bundle.read(tmp_path / f"two-{target}") for target in ("android", "web")]
    subjects = [latency.TimedBundle(one, known(one), None, LIMIT) for one in found]
    here = latency.MachinePair("here", "here")
    first = latency.time_all(subjects, here, MODES["quick"], again=True, say=quiet)
    log = Path(os.environ.get("RERUNS_LOG", tmp_path / "reruns.jsonl"))
    alarms = 0
    for number in range(RERUNS):
        if number == RERUNS // 2:
            shutil.rmtree(tmp_path / "cache")
        again = [replace(s, before=one.measured) for s, one in zip(subjects, first, strict=True)]
        random.Random(number).shuffle(again)
        ran = latency.time_all(again, here, MODES["quick"], again=True, say=quiet)
        alarms += any(one.worse for one in ran)
        with log.open("a") as file:
            said = [[o.measured.bundle, o.ratio, o.p, o.worse, o.why] for o in ran]
            file.write(json.dumps({"number": number, "alarms": alarms, "ran": said}) + "\n")
    assert alarms == 0, f"{alarms} false alarms in {RERUNS} reruns"


def known(found: bundle.Bundle) -> state.BundleFigures:
    name = f"{found.name}-{found.target}"
    digest = state.artifact_digest(found)
    return state.BundleFigures(name, found.name, found.target, "fp16", "", digest, {})


def quiet(what: str, stage: str) -> None:
    """Says nothing."""
