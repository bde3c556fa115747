"""Processes that end with the one that started them, whichever way it goes.

python -m converters.processes.children MODULE ARGUMENTS    runs somebody else's as one
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakSet

SECONDS = 1.0
"""How often a child looks whether its parent is there."""

PARENT = "MLSHIP_PARENT"
"""The number of the process that started this one."""

_started: WeakSet[subprocess.Popen[Any]] = WeakSet()


def start(command: Sequence[str], *, env: Mapping[str, str], **how: Any) -> subprocess.Popen[Any]:
    """A process that `end_all` ends; `how` is subprocess's."""
    process: subprocess.Popen[Any] = subprocess.Popen(command, env=_told(env), **how)
    _started.add(process)
    return process


def run(
    command: Sequence[str], *, env: Mapping[str, str], **how: Any
) -> subprocess.CompletedProcess[str]:
    """What came of a process that is waited for; `how` is subprocess's."""
    return subprocess.run(command, env=_told(env), text=True, **how)


def _told(env: Mapping[str, str]) -> dict[str, str]:
    return {**env, PARENT: str(os.getpid())}


def end_all() -> None:
    """Kills every child that runs: whoever waits for its answer hears that it ended."""
    for process in list(_started):
        if process.poll() is None:
            process.kill()


def end_with_parent() -> None:
    """From now on this process ends when the one that started it is gone, whatever it does."""
    # Told, for it may have gone while this one started.
    parent = int(os.environ.get(PARENT, os.getppid()))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
