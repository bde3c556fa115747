"""Several files timed side by side: a process each, asked in turns, in shuffled rounds.

In each round every process does one block of runs, in an order drawn anew, so that the
machine's moods meet all alike; blocks are what is compared (`benchmarks.significance`).
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

from benchmarks.significance import FEWEST
from benchmarks.timing.layers import by_layer
from benchmarks.timing.runtimes import NODE, Runtime
from benchmarks.timing.times import Session, Times
from converters.host import Host
from model_defs.errors import BadArtifact, MlshipError

SECONDS = 900.0
"""How long loading, or one block, may take."""

Say = Callable[[str, str], None]


@dataclass(frozen=True)
class Mode:
    """How much is run: `rounds` of blocks of `runs`, after MLPerf Mobile (its 1024 runs and 60 s).

    A file has more rounds until it took `least` seconds; its blocks get smaller, down to one
    run, and then its rounds fewer, down to FEWEST, so that it does not take more than `most`.
    """

    name: str
    rounds: int
    runs: int
    least: float
    most: float


MODES = {
    mode.name: mode for mode in (Mode("quick", 16, 4, 0, 8), Mode("full", 32, 32, 60, float("inf")))
}
MOST_ROUNDS = 10_000


@dataclass(frozen=True)
class Entry:
    """A file and what runs it; `file` is not looked at for PEAKS."""

    runtime: Runtime
    file: Path


class Process:
    """A runtime that has loaded a file, in a process of its own. Raises BadArtifact."""

    def __init__(self, entry: Entry) -> None:
        runtime = entry.runtime
        runtime.look()
        self._in_node, self._file = runtime.load is None, entry.file
        cwd = NODE if self._in_node else None
        command = runtime.command(entry.file)
        self._host = Host(runtime.name, command, cwd=cwd, env=runtime.environment)
        self.threads = runtime.threads
        try:
            self.started = self._told(self._host.listen(SECONDS)[0])
        except BadArtifact:
            self.close()
            raise

    def run(self, runs: int, most: float = float("inf")) -> dict[str, Any]:
        """Up to so many runs, none after so many milliseconds: `wall`, `cpu`, `peak`."""
        bound = min(most, SECONDS * 1e3)
        return self._told(self._host.ask({"runs": runs, "most": bound}, {}, SECONDS)[0])

    def layers(self) -> dict[str, float]:
        """Milliseconds of each layer; nothing where the runtime cannot tell."""
        found = self._told(self._host.ask({"layers": True}, {}, SECONDS)[0])["layers"]
        return by_layer(found, self._file) if self._in_node else dict(found)

    def close(self) -> None:
        self._host.close()

    def _told(self, header: dict[str, Any]) -> dict[str, Any]:
        if "error" in header:
            raise BadArtifact(str(header["error"]))
        return header


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
        if count < FEWEST:
            return True
        if self.spent >= self.mode.most or count >= MOST_ROUNDS:
            return False
        return count < self.mode.rounds or self.spent < self.mode.least

    def run(self) -> None:
        share = self.mode.most / self.mode.rounds * 1e3 / max(self._each, 1e-3)
        runs = max(1, int(min(share, self.mode.runs)))
        start = time.perf_counter()
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
    entries: Mapping[str, Entry],
    mode: Mode,
    *,
    layers: Iterable[str] = (),
    say: Say = lambda what, stage: None,
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


def _in_rounds(
    logs: dict[str, _Log], failed: dict[str, str], say: Say, shuffled: random.Random
) -> None:
    number = 0
    while waiting := [name for name, log in logs.items() if log.wants_more]:
        number += 1
        say("timing", f"round {number}, {len(waiting)} files")
        for name in shuffled.sample(waiting, len(waiting)):
            _try(name, logs, failed, _Log.run)


def _try(
    name: str, logs: dict[str, _Log], failed: dict[str, str], act: Callable[[_Log], None]
) -> None:
    try:
        act(logs[name])
    except MlshipError as error:
        failed[name] = error.what
        del logs[name]
