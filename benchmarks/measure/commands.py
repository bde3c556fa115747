"""Other programs, run to their end: what they said, and what that took."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure.timing import memory
from model_defs.installation import FOLDER

SECONDS = 900.0
"""How long a program may take."""
LOOK = 0.1
"""Seconds between two looks at its memory."""


class Failed(Exception):
    """A converter or a runtime that did not do its work, in its own last words."""


@dataclass(frozen=True)
class Ran:
    """What a program printed, its seconds by the clock, and its most bytes of memory.

    Memory is that of all its processes together, looked at every LOOK seconds; 0 where the
    system does not tell.
    """

    printed: str
    seconds: float
    memory: int


def run(
    command: Sequence[str], environment: Mapping[str, str] | None = None, most: float = SECONDS
) -> Ran:
    """Run it in the project's folder; Failed where it fails or takes more than `most` seconds."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as words:
        start = time.perf_counter()
        try:
            process = subprocess.Popen(
                command,
                cwd=FOLDER,
                env=_environment(environment or {}),
                stdout=output,
                stderr=words,
                start_new_session=True,
            )
        except OSError as error:
            raise Failed(str(error)) from error
        peak = _watched(process, start + most)
        seconds = time.perf_counter() - start
        if process.returncode == -signal.SIGKILL and seconds >= most:
            raise Failed(f"not done after {most:g} s")
        words.seek(0)
        if process.returncode != 0:
            said = words.read().decode(errors="replace")
            raise Failed(last_words(said) or f"exit {process.returncode}")
        output.seek(0)
        return Ran(output.read().decode(errors="replace"), seconds, peak)


def said(
    command: Sequence[str], environment: Mapping[str, str] | None = None, most: float = SECONDS
) -> str:
    """What a program prints; Failed where it fails or takes more than `most` seconds."""
    return run(command, environment, most).printed


def last_words(text: str) -> str:
    """The last line that names an error, or the last one: Node ends with its own version."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ([line for line in lines if "Error" in line] or lines or [""])[-1]


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, with what the converters call found beside our Python, and the project to import."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    paths = {"PATH": programs, "PYTHONPATH": str(FOLDER), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return {**os.environ, **paths, **more}


def _watched(process: subprocess.Popen[bytes], deadline: float) -> int:
    """Its most bytes of memory until it ended; at the deadline it ends, with all it started."""
    most = 0
    try:
        while process.poll() is None and time.perf_counter() < deadline:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LOOK)
            most = max(most, memory.together(process.pid))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return most
