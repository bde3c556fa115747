"""Files are timed side by side, in processes of their own; layers add up to the whole."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from benchmarks.measure import machine
from benchmarks.measure.significance import FEWEST
from benchmarks.measure.timing import runtimes, worker
from benchmarks.measure.timing.loaded import Loaded
from benchmarks.measure.timing.peaks import copy
from benchmarks.measure.timing.process import Process, TimedFile
from benchmarks.measure.timing.runtimes import PEAKS, PEERS, RUNTIMES
from benchmarks.measure.timing.session import LONG_MS, Mode, _in_rounds, _Log, measure
from benchmarks.measure.timing.times import Times
from converters.api import Artifact
from converters.progress import silent
from model_defs.errors import BackendUnavailable, BadArtifact, UnknownName
from toolchain.bundle import bundle

SHORT = Mode("short", FEWEST, 2, 0, 5)
LAYERED = ("litert-1", "tfjs-wasm", "mil-1")


def artifact_of(shared: Path, target: str) -> Artifact:
    found = bundle.read(shared / "dist" / f"tiny-{target}")
    return found.artifact


def file_of(shared: Path, target: str) -> Path:
    return artifact_of(shared, target).path


@pytest.fixture(scope="module")
def session(shared: Path):  # type: ignore[no-untyped-def]
    files = {"coreml": "ios", "tflite": "android", "tfjs": "web"}
    entries = {
        name: TimedFile(runtime, file_of(shared, files[runtime.format]))
        for name, runtime in RUNTIMES.items()
        if runtime.format in files and not runtime.system and "phone" not in name
    } | {name: TimedFile(runtime, Path()) for name, runtime in PEAKS.items()}
    bad = shared / "bad.tflite"
    bad.write_bytes(b"no model")
    entries["bad"] = TimedFile(RUNTIMES["litert-1"], bad)
    return measure(entries, SHORT, layers=LAYERED)


def test_a_long_run_is_not_warmed_again_each_round() -> None:
    asked: list[int] = []

    class Slow:
        def __init__(self) -> None:
            self.started = {"first": LONG_MS}

        def run(self, runs: int) -> dict[str, Any]:
            asked.append(runs)
            return {"wall": [LONG_MS / 2] * runs, "cpu": []}

    log = _Log(Slow(), Mode("three", 3, 2, 0, float("inf"), 3))  # type: ignore[arg-type]
    while log.wants_more:
        log.run()
    assert asked == [2, 1, 2, 1, 2]


def test_blocks_of_short_runs_have_more_of_them() -> None:
    class Quick:
        started: ClassVar = {"first": 0.02}

        def run(self, runs: int) -> dict[str, Any]:
            return {"wall": [0.01] * runs, "cpu": []}

    log = _Log(Quick(), SHORT)  # type: ignore[arg-type]
    log.run()
    log.run()
    assert [len(answer["wall"]) for answer in log.answers] == [50, 100]


def test_all_run_a_round_on_the_same_processor_and_rounds_on_each() -> None:
    ran: list[tuple[str, int | None]] = []

    class There:
        started: ClassVar = {"first": LONG_MS}

        def __init__(self, name: str, core: int | None) -> None:
            self.name, self.core = name, core

        def move(self, core: int) -> None:
            self.core = core

        def run(self, runs: int) -> dict[str, Any]:
            ran.append((self.name, self.core))
            return {"wall": [LONG_MS], "cpu": []}

    homes = {"a": 3, "b": 5, "c": 3, "unknown": None}
    mode = Mode("four", 4, 1, 0, float("inf"), 4)
    logs = {name: _Log(There(name, core), mode) for name, core in homes.items()}  # type: ignore[arg-type]
    _in_rounds(logs, {}, silent, random.Random(0))
    rounds = [ran[at : at + len(homes)] for at in range(0, len(ran), len(homes))]
    assert [{core for _, core in one} for one in rounds] == [{5}, {3}, {5}, {3}]
    assert all({name for name, _ in one} == homes.keys() for one in rounds)


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells")
def test_a_process_of_one_thread_is_moved(shared: Path) -> None:
    for name in ("litert-1", "litert", "tfjs-wasm"):
        target = "web" if name == "tfjs-wasm" else "android"
        process = Process(TimedFile(RUNTIMES[name], file_of(shared, target)))
        try:
            for core in os.sched_getaffinity(0):
                process.move(core)
                process.run(2)
                assert process.core == (None if name == "litert" else core)
        finally:
            process.close()
    assert process.core is None
    process.move(0)


@pytest.mark.parametrize(("first", "runs"), [(10.0, [1, worker.WARM]), (9e3, [1])])
def test_a_long_first_run_is_warm_enough(
    first: float, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def timed(loaded: Loaded, runs: int, most: float) -> tuple[list[float], list[float]]:
        asked.append(runs)
        return [first], [first]

    def ends(count: int) -> bytes:
        raise EOFError

    monkeypatch.setattr(worker, "timed", timed)
    with pytest.raises(EOFError):
        worker.serve(lambda: copy(Path(), 1), lambda header, tensors: None, ends)
    assert asked == runs


def test_what_does_not_load_does_not_stop_the_others(session) -> None:  # type: ignore[no-untyped-def]
    assert session.failed.keys() == {"bad"}
    assert "valid Flatbuffer" in session.failed["bad"]
    assert {"litert-1", "litertjs", "tfjs-wasm", "tfjs-wasm-chromium"} < session.times.keys()


def test_every_runtime_ran_in_every_round(session) -> None:  # type: ignore[no-untyped-def]
    for name, times in session.times.items():
        assert len(times.wall) == FEWEST, name
        assert all(ms > 0 for ms in times.runs), name
        assert times.first > 0
        low, high = times.interval
        assert low <= times.median * 1.5
        assert times.p90 >= times.median
        assert 0 < low <= high


def test_memory_is_each_process_s_own(session) -> None:  # type: ignore[no-untyped-def]
    peaks = {name: times.peak for name, times in session.times.items()}
    # Two processes of one runtime may take the same number of pages.
    assert len({peaks[name] for name in ("mil-1", "litert-1", "litertjs")}) == 3
    assert len(set(peaks.values())) > len(peaks) / 2
    assert peaks["litert-1"] < peaks["mil-1"]
    assert session.times["litert-1"].own_memory < peaks["litert-1"]
    assert session.times["litertjs"].own_memory is None


@pytest.mark.parametrize("name", LAYERED)
def test_layers_are_named_as_the_bytes_are(session, name: str) -> None:  # type: ignore[no-untyped-def]
    layers = session.times[name].layers
    assert {"conv", "out"} <= {layer.split("/")[0] for layer in layers}
    assert all(ms > 0 for ms in layers.values())


def test_only_who_was_asked_tells_layers(session) -> None:  # type: ignore[no-untyped-def]
    assert not session.times["litert"].layers


def test_the_roof_is_what_the_matrices_reached(session) -> None:  # type: ignore[no-untyped-def]
    roof = session.roof
    assert roof is not None
    assert roof.gmacs_single > 0.5
    assert roof.least_ms(int(roof.gmacs_single * 1e9), 0, 1) == pytest.approx(1000)
    assert roof.least_ms(0, int(roof.gigabytes * 1e9), 2) == pytest.approx(1000)


def test_a_process_that_ends_is_an_error_of_the_file(shared: Path, tmp_path: Path) -> None:
    process = Process(TimedFile(RUNTIMES["litert-1"], file_of(shared, "android")))
    process._host._process.kill()
    with pytest.raises(Exception, match="ended: by signal 9"):
        process.run(1)
    process.close()


FED = ("litert-1", "tfjs-wasm", "mil-1")


def fed(shared: Path, name: str, x: np.ndarray) -> np.ndarray:
    """What a file makes of x, by the names and in the layout of its ports."""
    target = {"litert-1": "android", "tfjs-wasm": "web", "mil-1": "ios"}[name]
    artifact = artifact_of(shared, target)
    process = Process(TimedFile(RUNTIMES[name], artifact.path))
    try:
        (given,), (told,) = artifact.inputs, artifact.outputs
        assert process.started["inputs"] == [given.stored_as]
        assert process.started["outputs"] == [told.stored_as]
        found = process.feed({given.stored_as: given.to_stored(x)})
        assert process.run(1)["wall"]
        return told.to_logical(found[told.stored_as])
    finally:
        process.close()


def test_a_file_is_fed_and_all_runtimes_agree(shared: Path) -> None:
    (port,) = artifact_of(shared, "android").inputs
    x = np.random.default_rng(7).random(port.logical_shape, dtype=np.float32)
    first, *others = (fed(shared, name, x) for name in FED)
    assert np.ptp(first) > 0
    assert not np.allclose(first, fed(shared, FED[0], x / 2), atol=1e-3)
    for other in others:
        np.testing.assert_allclose(other, first, atol=2e-2)


@pytest.mark.parametrize("name", FED[:2])
def test_an_input_of_another_name_is_refused(shared: Path, name: str) -> None:
    artifact = artifact_of(shared, {"litert-1": "android", "tfjs-wasm": "web"}[name])
    (port,) = artifact.inputs
    x = port.to_stored(np.zeros(port.logical_shape, np.float32))
    with pytest.raises(BadArtifact):
        Process(TimedFile(RUNTIMES[name], artifact.path, {"other": x}))


def test_a_peer_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.measure.timing.runtime.python_of", lambda peer: Path("absent"))
    with pytest.raises(BackendUnavailable, match="executorch is not installed") as caught:
        PEERS["executorch-1"].look()
    assert "benchmarks.measure.peers.install executorch" in caught.value.do


def test_an_absent_module_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.measure.timing.runtime.find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match="onnxruntime is not installed"):
        RUNTIMES["onnxruntime"].look()


def test_core_ml_is_of_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(BackendUnavailable, match="darwin only"):
        RUNTIMES["coreml"].look()
    assert runtimes.main_of("coreml").name == "mil-1"


def test_an_unknown_runtime_is_told_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        runtimes.find("litert1")
    assert "did you mean 'litert-1'" in caught.value.do


def test_one_thread_is_compared_by_cpu_time_and_several_by_the_clock() -> None:
    single = Times(0, 1, ((2.0, 4.0),), ((1.0, 1.0),), 1, 2, 1)
    assert single.blocks == (1.0,)
    assert Times(0, 1, ((2.0, 4.0),), ((1.0, 1.0),), 1, 2, 2).blocks == (2.0,)
    assert Times(0, 1, ((2.0, 4.0),), (), 1, 2, 1).blocks == (2.0,)


def test_the_fingerprint_is_of_processor_and_versions() -> None:
    one = machine.Machine("a", 8, "Linux", {"numpy": "1"})
    assert one.fingerprint == machine.Machine("a", 8, "Linux", {"numpy": "1"}).fingerprint
    assert one.fingerprint != machine.Machine("b", 8, "Linux", {"numpy": "1"}).fingerprint
    assert one.fingerprint != machine.Machine("a", 8, "Linux", {"numpy": "2"}).fingerprint
    assert machine.this().fingerprint == machine.this().fingerprint
