"""Converters that are kept for many nets, for tests: their tools are loaded once.

    python -m tests.converters.wild.kept FORMAT

answers each line of standard input, a job, with a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from converters import formats
from converters.format import resolve
from converters.processes import worker
from converters.processes.worker import QUIET, Worker

KEPT: dict[str, subprocess.Popen[str]] = {}
"""The processes that are running, by format."""


class KeptWorker(Worker):
    """A `Worker` of a process that stays: the same jobs and the same answers."""

    def __init__(self, format_name: str) -> None:
        self.format = format_name
        if format_name not in KEPT:
            KEPT[format_name] = subprocess.Popen(
                [sys.executable, "-m", "tests.converters.wild.kept", format_name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, **QUIET, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )

    def _answer(self, job: str, hears: Callable[[str], None]) -> dict[str, Any]:
        process = KEPT[self.format]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(job + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    def __exit__(self, *_: object) -> None:
        """It stays."""


def end() -> None:
    """End all that are kept."""
    while KEPT:
        process = KEPT.popitem()[1]
        process.kill()
        process.communicate()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    format = formats.find(sys.argv[1])
    resolve(format.preload)()
    convert = resolve(format.convert)
    for job in sys.stdin:
        said = worker._serve(format.name, convert, json.loads(job))
        print(json.dumps(said), file=answers, flush=True)


if __name__ == "__main__":
    main()
