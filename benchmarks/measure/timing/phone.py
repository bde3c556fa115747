"""LiteRT on an Android phone, through adb and LiteRT's own benchmark tool.

The tool (`android_aarch64_benchmark_model` among LiteRT's binaries) is the user's: either it
lies on the phone as TOOL, or the variable MLSHIP_BENCHMARK_MODEL names its file here. Which of
several phones is meant says adb's own variable, ANDROID_SERIAL. What is put on the phone is
taken away again.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from benchmarks.measure.timing.loaded import Elsewhere, Loaded
from model_defs.errors import BackendUnavailable, BadArtifact

FOLDER = "/data/local/tmp"
TOOL = f"{FOLDER}/benchmark_model"
VARIABLE = "MLSHIP_BENCHMARK_MODEL"
SECONDS = 600

BLOCK = re.compile(r"count=(\d+) (?:first=\S+ )?curr=([\d.e+]+)(?:.*? avg=([\d.e+]+))?")
"""A round of runs in microseconds: of the warm-up, then of what is timed."""
STARTED = re.compile(r"Inference timings in us: Init: ([\d.e+]+), First inference: ([\d.e+]+)")
MEMORY = re.compile(r"footprint.*\(MB\).*overall=([\d.]+)")


@dataclass(frozen=True)
class Told:
    """What the tool said of one block: milliseconds, of one run the mean; bytes, 0 if unknown."""

    load: float
    first: float
    mean: float
    memory: int


def look() -> None:
    """BackendUnavailable where there is no phone, or no tool for it."""
    if shutil.which("adb") is None:
        raise BackendUnavailable("adb is not installed", do="install Android's platform tools")
    state = _adb("get-state")
    if state.stdout.strip() != "device":
        said = (state.stderr.strip() or state.stdout.strip()).splitlines()
        raise BackendUnavailable(
            f"no Android phone is attached: {said[-1] if said else 'adb says nothing'}",
            do="attach one, allow debugging, see `adb devices`; ANDROID_SERIAL chooses",
        )
    if not _own_tool() and _adb("shell", f"test -x {TOOL}").returncode != 0:
        raise BackendUnavailable(
            "LiteRT's benchmark tool is not on the phone",
            do=f"{VARIABLE}=android_aarch64_benchmark_model, or push it as {TOOL}",
        )


def litert(path: Path, threads: int) -> Loaded:
    """A .tflite file on the attached phone's CPU. Raises BadArtifact in the tool's last words."""
    phone = _Phone(path, threads)
    started = phone.run(1)

    def timer(runs: int) -> list[float]:
        return [phone.run(runs).mean]

    where = Elsewhere(phone.name, started.load, started.first, lambda: phone.memory)
    return Loaded(lambda: phone.run(1), timer=timer, elsewhere=where)


def read(output: str) -> Told:
    """What the tool printed of one block. Raises BadArtifact where it timed nothing."""
    blocks, started = BLOCK.findall(output), STARTED.search(output)
    if len(blocks) < 2 or started is None:
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        errors = [line for line in lines if "ERROR" in line or "rror:" in line]
        raise BadArtifact((errors or lines or ["the benchmark tool said nothing"])[-1])
    _, last, mean = blocks[-1]
    load, first = (float(us) / 1e3 for us in started.groups())
    memory = MEMORY.search(output)
    taken = int(float(memory[1]) * 1e6) if memory else 0
    return Told(load, first, float(mean or last) / 1e3, taken)


@dataclass
class _Phone:
    """The attached phone with a file on it, until this process ends."""

    path: Path
    threads: int
    memory: int = 0
    folder: str = field(init=False)

    def __post_init__(self) -> None:
        self.folder = f"{FOLDER}/mlship-{uuid4().hex}"
        atexit.register(_adb, "shell", f"rm -rf {self.folder}")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # how its process is ended
        self._must("shell", f"mkdir -p {self.folder}")
        self._must("push", str(self.path), f"{self.folder}/model.tflite")
        if own := _own_tool():
            self._must("push", str(own), f"{self.folder}/benchmark_model")
            self._must("shell", f"chmod 755 {self.folder}/benchmark_model")
        self.tool = f"{self.folder}/benchmark_model" if own else TOOL
        properties = ("ro.product.manufacturer", "ro.product.model", "ro.build.fingerprint")
        self.name = " ".join(self._must("shell", f"getprop {p}").strip() for p in properties)

    def run(self, runs: int) -> Told:
        """One block: the tool warms up for half a second, as it does by default."""
        command = f"{self.tool} --graph={self.folder}/model.tflite --use_xnnpack=true"
        command += f" --num_threads={self.threads} --num_runs={runs} --min_secs=0"
        reading = read(self._must("shell", command))
        self.memory = max(self.memory, reading.memory)
        return reading

    def _must(self, *words: str) -> str:
        ran = _adb(*words)
        if ran.returncode != 0:
            said = (ran.stderr.strip() or ran.stdout.strip() or "no word").splitlines()
            raise BadArtifact(f"adb {words[0]}: {said[-1]}")
        return ran.stdout + ran.stderr


def _own_tool() -> Path | None:
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    if not Path(named).is_file():
        raise BackendUnavailable(f"{VARIABLE}={named}: there is no such file", do="correct it")
    return Path(named)


def _adb(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["adb", *words], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise BadArtifact(f"adb {words[0]} did not end within {SECONDS} s") from None
