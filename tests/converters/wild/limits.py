"""A process that is given so much time and memory, and is ended with all its own beyond it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

EVERY = 0.5
"""Seconds between two looks."""
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Ended:
    """How a process ended: `why` is "" where it did so by itself and well. `peak` is in GB."""

    seconds: float
    peak: float
    why: str


def run(command: Sequence[str], env: Mapping[str, str], seconds: float, gigabytes: float) -> Ended:
    """Run a command in a session of its own; no process of it outlives it."""
    start, peak, why = time.monotonic(), 0.0, ""
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(
            command,
            env=env,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            while not why and process.poll() is None:
                time.sleep(EVERY)
                peak = max(peak, _gigabytes(process.pid))
                if time.monotonic() - start > seconds:
                    why = f"not done after {seconds:g} s"
                elif peak > gigabytes:
                    why = f"took more than {gigabytes:g} GB"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if not why and process.returncode:
            log.seek(0)
            last = [line.strip() for line in log.read().splitlines() if line.strip()][-1:]
            why = f"ended with status {process.returncode}: {''.join(last)[:400]}"
    return Ended(time.monotonic() - start, peak, why)


def _gigabytes(session: int) -> float:
    """What the processes of a session hold, in GB; pages that they share are counted for each."""
    pages = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                pages += int((stat.parent / "statm").read_text().split()[1])
    return pages * PAGE / 1e9
