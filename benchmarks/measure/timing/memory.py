"""How much memory processes take, as Linux counts it; elsewhere only this one can be asked."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path


def resident() -> int:
    """Bytes of memory that this process has now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak()
    return pages * resource.getpagesize()


def peak() -> int:
    """The most bytes of memory that this process has had, or the largest process below it.

    Linux hands `ru_maxrss` on from the process that started this one, so it is only asked where
    there is nothing better.
    """
    own = _kilobytes(os.getpid(), "status", "VmHWM:")
    if not own:
        unit = 1 if sys.platform == "darwin" else 1024
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return max([own, *(_kilobytes(pid, "status", "VmHWM:") for pid in below(os.getpid()))])


def together(pid: int) -> int:
    """Bytes that a process and all below it have now; pages that they share count once.

    0 where the system does not tell.
    """
    return sum(_kilobytes(one, "smaps_rollup", "Pss:") for one in [pid, *below(pid)])


def below(pid: int) -> list[int]:
    """All processes that a process has started, by whatever thread, and those that they have."""
    children = [
        int(n) for task in Path(f"/proc/{pid}/task").glob("*/children") for n in _text(task).split()
    ]
    return [*children, *(n for child in children for n in below(child))]


def _kilobytes(pid: int, file: str, key: str) -> int:
    """What a line of a process's file says, in bytes; 0 for a process that has ended."""
    lines = _text(Path(f"/proc/{pid}", file)).splitlines()
    return next((int(s.split()[1]) * 1024 for s in lines if s.startswith(key)), 0)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
