"""Files are timed side by side, in processes of their own; layers add up to the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.significance import FEWEST
from benchmarks.timing import runtimes
from benchmarks.timing.runtimes import PEAKS, RUNTIMES
from benchmarks.timing.session import Entry, Mode, Process, measure
from benchmarks.timing.times import Times
from converters.api import Artifact
from model_defs.errors import BackendUnavailable, UnknownName
from toolchain import bundle

SHORT = Mode("short", FEWEST, 2, 0, 5)
LAYERED = ("litert-1", "tfjs-wasm", "mil-1")


def file_of(shared: Path, target: str) -> Path:
    found = bundle.read(shared / "dist" / f"tiny-{target}")
    return Artifact.from_json(found.manifest["artifact"], found.directory).path


@pytest.fixture(scope="module")
def session(shared: Path):  # type: ignore[no-untyped-def]
    files = {"coreml": "ios", "tflite": "android", "tfjs": "web"}
    entries = {
        name: Entry(runtime, file_of(shared, files[runtime.format]))
        for name, runtime in RUNTIMES.items()
        if runtime.format in files and not runtime.system and "phone" not in name
    } | {name: Entry(runtime, Path()) for name, runtime in PEAKS.items()}
    bad = shared / "bad.tflite"
    bad.write_bytes(b"no model")
    entries["bad"] = Entry(RUNTIMES["litert-1"], bad)
    return measure(entries, SHORT, layers=LAYERED)


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
    assert len(set(peaks.values())) == len(peaks)
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
    process = Process(Entry(RUNTIMES["litert-1"], file_of(shared, "android")))
    process._host._process.kill()
    with pytest.raises(Exception, match="ended: by signal 9"):
        process.run(1)
    process.close()


def test_an_absent_module_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None)
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
