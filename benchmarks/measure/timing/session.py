"""Several files timed side by side: a process each, asked in turns, in shuffled rounds.

In each round every process does one block of runs, in an order drawn anew and on the same
processor, so that the machine's moods meet all alike; blocks are what is compared
(`benchmarks.measure.significance`).
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure.significance import FEWEST
from benchmarks.measure.timing.process import Process, TimedFile
from benchmarks.measure.timing.runtimes import PEAKS
from benchmarks.measure.timing.times import Session, Times
from converters.progress import Say, silent
from model_defs.errors import MlshipError


@dataclass(frozen=True)
class Mode:
    """How much is run: `rounds` of blocks of `runs`, after MLPerf Mobile (its 1024 runs and 60 s).

    A file has more rounds until it took `least` seconds; its blocks get smaller, down to one
    run, and then its rounds fewer, down to `fewest`, so that it does not take more than `most`.
    Blocks of short runs have more of them, so that each takes BLOCK_MS.
    """

    name: str
    rounds: int
    runs: int
    least: float
    most: float
    fewest: int = FEWEST


MODES = {
    mode.name: mode for mode in (Mode("quick", 16, 4, 0, 8), Mode("full", 32, 32, 60, float("inf")))
}
MOST_ROUNDS = 10_000
BLOCK_MS = 1.0
"""Runs of microseconds, a few at a time, show how cold the caches were and the clock itself."""
LONG_MS = 1_000.0
"""A run that takes longer does not notice what the caches held before it."""


class _Log:
    """What one process has answered so far."""

    def __init__(self, process: Process, mode: Mode) -> None:
        self.process, self.mode = process, mode
        self.answers: list[dict[str, Any]] = []
        self.layers: list[dict[str, float]] = []
        self.spent = 0.0
        self._each = process.started["first"]

    @property
    def wants_more(self) -> bool:
        count = len(self.answers)
        if count < self.mode.fewest:
            return True
        if self.spent >= self.mode.most or count >= MOST_ROUNDS:
            return False
        return count < self.mode.rounds or self.spent < self.mode.least

    def run(self) -> None:
        each = max(self._each, 1e-3)
        share = self.mode.most / self.mode.rounds * 1e3 / each
        runs = max(1, int(min(share, max(self.mode.runs, BLOCK_MS / each))))
        start = time.perf_counter()
        if self._each < LONG_MS:
            self.process.run(1)  # after others had the caches
        answer = self.process.run(runs)
        self.spent += time.perf_counter() - start
        self._each = statistics.median(answer["wall"])
        self.answers.append(answer)

    def times(self) -> Times:
        started = self.process.started
        cpu = tuple(tuple(a["cpu"]) for a in self.answers if a["cpu"])
        names = dict.fromkeys(name for found in self.layers for name in found)
        return Times(
            started["load"],
            started["first"],
            tuple(tuple(a["wall"]) for a in self.answers),
            cpu,
            started["resident"],
            self.answers[-1]["peak"],
            self.process.threads,
            {n: min(f[n] for f in self.layers if n in f) for n in names},
            started.get("device", ""),
        )


PROFILES = 5
"""How often the layers are timed: the best is kept."""


def measure(
    entries: Mapping[str, TimedFile],
    mode: Mode,
    *,
    layers: Iterable[str] = (),
    say: Say = silent,
    seed: int = 0,
) -> Session:
    """Time the entries side by side; those in `layers` also layer by layer, at the end.

    What cannot be started, or ends, is told in `failed` and does not stop the others.
    """
    failed: dict[str, str] = {}
    with ExitStack() as stack:
        logs = {}
        for name, entry in entries.items():
            say("timing", f"loading {name}")
            try:
                process = Process(entry)
            except MlshipError as error:
                failed[name] = error.what
                continue
            stack.callback(process.close)
            logs[name] = _Log(process, mode)
        _in_rounds(logs, failed, say, random.Random(seed))
        for _ in range(PROFILES):
            for name in [n for n in layers if n in logs]:
                _try(name, logs, failed, lambda log: log.layers.append(log.process.layers()))
        say("timing", "")
        return Session({name: log.times() for name, log in logs.items()}, failed)


def measure_beside_peaks(
    entries: Mapping[str, TimedFile], mode: Mode, *, layers: Iterable[str], say: Say
) -> Session:
    """The same beside what this machine can do at most; no process at all for no entries."""
    peaks = {name: TimedFile(runtime, Path()) for name, runtime in PEAKS.items()} if entries else {}
    return measure({**entries, **peaks}, mode, layers=layers, say=say)


def _in_rounds(
    logs: dict[str, _Log], failed: dict[str, str], say: Say, shuffled: random.Random
) -> None:
    number = 0
    homes = sorted({c for log in logs.values() if (c := log.process.core) is not None})
    while waiting := [name for name, log in logs.items() if log.wants_more]:
        number += 1
        say("timing", f"round {number}, {len(waiting)} files")
        for name in shuffled.sample(waiting, len(waiting)):
            if homes:
                logs[name].process.move(homes[number % len(homes)])
            _try(name, logs, failed, _Log.run)


def _try(
    name: str, logs: dict[str, _Log], failed: dict[str, str], act: Callable[[_Log], None]
) -> None:
    try:
        act(logs[name])
    except MlshipError as error:
        failed[name] = error.what
        del logs[name]
