"""Jobs are done once, wherever: results kept, failures named, workers and schedulers that die."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_defs.errors import ClusterFailed, UnsupportedOption
from toolchain.build import cache
from toolchain.cluster import dask, kept, work
from toolchain.cluster.connect import connect
from toolchain.cluster.job import WORK, Failure, Job, JobOutcome
from toolchain.cluster.pool import Pool, Run, SerialPool


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(scope="module")
def workers() -> Iterator[Pool]:
    with connect("local:2") as pool:
        yield pool


def rehearsal(value: object, **more: Any) -> Job:
    return Job(f"rehearsal {value}", "rehearsal", {"value": value, **more})


def values(pool: Pool, jobs: list[Job]) -> dict[str, object]:
    return {job.name: found.value for job, found in Run(pool, "test").each(jobs)}


def test_serial_and_local_workers_come_to_the_same(workers: Pool, home: Path) -> None:
    jobs = [rehearsal(n) for n in range(5)]
    there = values(workers, jobs)
    for record in (home / "cache" / "jobs").iterdir():
        record.unlink()
    assert values(SerialPool(), jobs) == there == {f"rehearsal {n}": n for n in range(5)}


def test_what_was_done_is_not_done_again() -> None:
    job, done = rehearsal(7), []

    class Counting(SerialPool):
        def each(self, jobs: Any) -> Any:
            jobs = list(jobs)
            done.extend(jobs)
            return super().each(jobs)

    for _ in range(3):
        assert values(Counting(), [job, job]) == {"rehearsal 7": 7}
    assert done == [job]
    values(Counting(), [replace(job, keep=False)])
    assert len(done) == 2


def test_a_result_is_of_the_files_that_were_read(home: Path) -> None:
    job, read = rehearsal(1), home / "read.txt"
    read.write_text("a")
    inputs = {str(read): cache.file_digest(read)}
    kept.store(job, JobOutcome(value=1, inputs=inputs))
    assert kept.find(job) is not None
    read.write_text("b")
    assert kept.find(job) is None


def test_a_result_that_somebody_else_wrote_is_not_believed(home: Path) -> None:
    one, other = rehearsal(1), rehearsal(2)
    kept.store(one, JobOutcome(value=1))
    folder = home / "cache" / "jobs"
    (folder / f"{one.key}.json").rename(folder / f"{other.key}.json")
    assert kept.find(other) is None


def test_failures_are_named_and_the_rest_is_done(home: Path) -> None:
    jobs = [rehearsal(1), rehearsal(2, fail="no such thing"), rehearsal(3)]
    found = {j.name: o for j, o in Run(SerialPool(), "test", logs=home / "logs").each(jobs)}
    failure = found["rehearsal 2"].failure
    assert failure is not None
    assert failure.exit_code == 4
    assert "no such thing" in failure.what
    assert [o.value for o in found.values()] == [1, None, 3]
    (log,) = (home / "logs").glob("rehearsal_2-*.log")
    assert "Traceback" in log.read_text()
    assert kept.find(jobs[1]) is None, "it may be ours: another try may come to more"
    assert kept.find(jobs[0]) is not None


def test_what_is_wrong_with_what_was_asked_is_kept() -> None:
    job = rehearsal(1)
    kept.store(job, JobOutcome(failure=Failure("BadSpec", "no such layer", exit_code=2)))
    found = kept.find(job)
    assert found is not None
    assert found.failure == Failure("BadSpec", "no such layer", exit_code=2)


def test_a_job_that_kills_its_workers_is_left_out(workers: Pool) -> None:
    jobs = [*map(rehearsal, range(6)), rehearsal("poison", die=True)]
    found = {job.name: outcome for job, outcome in Run(workers, "test").each(jobs)}
    failure = found.pop("rehearsal poison").failure
    assert failure is not None
    assert "ended 2 workers" in failure.what
    assert sorted(outcome.value for outcome in found.values()) == [*range(6)]


def test_a_worker_that_is_killed_loses_nothing(workers: Pool) -> None:
    run = Run(workers, "test").each([rehearsal(n, seconds=0.3) for n in range(8)])
    first, outcome = next(run)
    os.kill(int(outcome.worker.rpartition(":")[2]), signal.SIGKILL)
    found = {job.name: o.value for job, o in run} | {first.name: outcome.value}
    assert found == {f"rehearsal {n}": n for n in range(8)}


def test_a_scheduler_that_is_gone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "WAIT", 1)
    with pytest.raises(ClusterFailed, match=r"no worker|gone"), connect("tcp://127.0.0.1:9"):
        pass


def test_memory_that_no_worker_has(workers: Pool) -> None:
    job = replace(rehearsal(1), memory=10**15)
    with pytest.raises(ClusterFailed, match="1000000.0 GB"):
        list(Run(workers, "test").each([job]))


def test_another_version_does_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "environment", lambda: "theirs")
    found = work.do(rehearsal(1), environment="ours")
    assert found.failure is not None
    assert "another mlship" in found.failure.what


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("locl", "no cluster"),
        ("local:x", "no number"),
        ("local:0", "no number"),
        ("ssh:", "no cluster"),
        ("slurm:4", "dask-jobqueue"),
        ("kubernetes", "dask-kubernetes"),
    ],
)
def test_clusters_that_there_are_not(name: str, said: str) -> None:
    with pytest.raises(UnsupportedOption, match=said), connect(name):
        pass


def test_without_dask_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(UnsupportedOption, match="needs Dask"):
        connect("local")
    with connect("serial") as pool:
        assert values(pool, [rehearsal(1)]) == {"rehearsal 1": 1}


def test_progress_says_how_long() -> None:
    said: list[str] = []
    now = iter([0.0, 10.0, 20.0, 30.0, 40.0])
    jobs = [rehearsal(n) for n in range(3)]
    run = Run(SerialPool(), "test", lambda what, stage: said.append(stage), clock=lambda: next(now))
    list(run.each(jobs))
    assert said == ["0 of 3", "1 of 3, about 20 s left", "2 of 3, about 10 s left", "3 of 3", ""]


def test_recordings_inside_recordings_both_notice(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    for path in (a, b, c):
        path.write_text("x")
    with cache.recording() as outer:
        a.read_text()
        with cache.recording() as inner:
            b.read_text()
        c.read_text()
    assert {a, b, c} <= outer
    assert b in inner
    assert a not in inner
    assert c not in inner


def test_every_kind_of_work_is_there() -> None:
    for kind in WORK:
        assert callable(work._function(kind))
