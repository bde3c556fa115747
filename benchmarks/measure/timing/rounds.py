"""Files of one model timed side by side on one thread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure.timing.process import TimedFile
from benchmarks.measure.timing.runtimes import RUNTIMES
from benchmarks.measure.timing.session import Mode, measure

ENOUGH = 5.0
"""Seconds of a round that a file's runs may take: a slow one is run less often."""


def times(
    files: Mapping[str, Path], rounds: int, runs: int
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Name -> the milliseconds of each round, or why the file does not run.

    A .tflite runs in LiteRT, the folder of a TF.js model in Node.
    """
    entries = {
        name: TimedFile(RUNTIMES["tfjs-wasm" if file.is_dir() else "litert-1"], file)
        for name, file in files.items()
    }
    session = measure(entries, Mode("rounds", rounds, runs, 0, rounds * ENOUGH, rounds))
    found = {name: [round(ms, 3) for ms in t.blocks] for name, t in session.times.items()}
    return found, {name: f"the file does not run: {why}" for name, why in session.failed.items()}
