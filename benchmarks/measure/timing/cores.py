"""On which processor a process runs. Where the system does not tell (not Linux), on none known.

Processors are not equal at one time: on a rented machine each shares its core with a stranger,
and a process that stays where it is takes a third longer for as long as that one works.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_PROCESSOR = 36
"""Its place among the fields of proc(5)'s stat that follow the name."""


def of(pid: int) -> int | None:
    """The processor that its main thread last ran on."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[_PROCESSOR])
    except (OSError, ValueError, IndexError):
        return None


def move(pid: int, core: int) -> None:
    """Its main thread runs on this processor from now on, if it still runs."""
    with contextlib.suppress(OSError):
        os.sched_setaffinity(pid, {core})
