"""Files are timed on a phone by LiteRT's own tool; here a script answers as adb and it do."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measure.timing import phone
from benchmarks.measure.timing.process import TimedFile
from benchmarks.measure.timing.runtimes import RUNTIMES
from benchmarks.measure.timing.session import Mode, measure
from model_defs.errors import BackendUnavailable, BadArtifact

PRINTED = """INFO: STARTING!
INFO: Loaded model /data/local/tmp/mlship/model.tflite
INFO: Initialized session in 12.4ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds
INFO: count=12 first=50123 curr=41000 min=40100 max=50123 avg=42000.5 std=2900 p5=1 median=2 p95=3

INFO: Running benchmark for at least 4 iterations and at least 0 seconds
INFO: count=4 first=40200 curr=40400 min=40200 max=1.041e+05 avg=4.03e+04 std=80

INFO: Inference timings in us: Init: 12400, First inference: 50123, Warmup (avg): 42000.5, \
Inference (avg): 40300
INFO: Memory footprint delta from the start of the tool (MB): init=6.36328 overall=109.5
"""

ADB = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$*" in
get-state) [ -e {folder}/attached ] && echo device || {{ echo "error: no devices" >&2; exit 1; }};;
*"test -x"*) [ -e {folder}/tool ];;
*getprop*) echo pixel;;
*--graph*) cat {folder}/printed;;
esac
"""


@pytest.fixture
def attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the PATH whose adb has a phone with the tool; it lists what was asked."""
    script = tmp_path / "adb"
    script.write_text(ADB.format(folder=tmp_path))
    script.chmod(0o755)
    for name, text in {"attached": "", "tool": "", "printed": PRINTED, "asked": ""}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv(phone.VARIABLE, raising=False)
    return tmp_path


def test_a_block_is_the_tool_s_own_mean() -> None:
    told = phone.read(PRINTED)
    assert told == phone.Told(load=12.4, first=50.123, mean=40.3, memory=109_500_000)


def test_a_block_of_one_run_has_no_mean() -> None:
    one = PRINTED.replace(PRINTED.splitlines()[7], "INFO: count=1 curr=40400")
    assert phone.read(one).mean == 40.4


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("", "said nothing"),
        ("ERROR: Failed to apply XNNPACK\nABORTING!", "Failed to apply XNNPACK"),
        (PRINTED.partition("INFO: Running benchmark for at least 4")[0], "count=12"),
    ],
)
def test_a_tool_that_timed_nothing_is_an_error(printed: str, said: str) -> None:
    with pytest.raises(BadArtifact, match=said):
        phone.read(printed)


def test_a_file_is_put_on_the_phone_timed_and_taken_away(attached: Path) -> None:
    file = attached / "net.tflite"
    file.write_bytes(b"net")
    entry = TimedFile(RUNTIMES["phone-1"], file)
    session = measure({"net": entry}, Mode("short", 5, 4, 0, 60))
    assert session.failed == {}
    times = session.times["net"]
    assert times.device == "pixel pixel pixel"
    assert (times.load, times.first, times.peak) == (12.4, 50.123, 109_500_000)
    assert set(times.runs) == {40.3}
    assert times.own_memory is None
    asked = (attached / "asked").read_text().splitlines()
    assert any(line.startswith(f"push {file} /data/local/tmp/mlship-") for line in asked)
    assert "--num_threads=1 --num_runs=4 --min_secs=0" in "".join(asked)
    assert asked[-1].startswith("shell rm -rf /data/local/tmp/mlship-")


def test_a_tool_of_the_user_s_is_pushed(attached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (attached / "tool").unlink()
    own = attached / "android_aarch64_benchmark_model"
    own.write_text("")
    monkeypatch.setenv(phone.VARIABLE, str(own))
    session = measure({"net": TimedFile(RUNTIMES["phone"], own)}, Mode("short", 5, 1, 0, 60))
    assert session.failed == {}
    asked = (attached / "asked").read_text()
    assert f"push {own}" in asked
    assert "/benchmark_model --graph=" in asked


def test_what_is_missing_is_said(attached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RUNTIMES["phone"].look()
    (attached / "tool").unlink()
    with pytest.raises(BackendUnavailable, match="tool is not on the phone") as caught:
        RUNTIMES["phone"].look()
    assert phone.VARIABLE in caught.value.do
    monkeypatch.setenv(phone.VARIABLE, "nowhere")
    with pytest.raises(BackendUnavailable, match="nowhere: there is no such file"):
        phone.look()
    (attached / "attached").unlink()
    with pytest.raises(BackendUnavailable, match=r"no Android phone.*no devices"):
        phone.look()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BackendUnavailable, match="adb is not installed"):
        phone.look()
