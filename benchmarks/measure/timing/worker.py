"""One file in one runtime in one process.

    python -m benchmarks.measure.timing.worker LOAD IMPORTS OPTIONS FILE THREADS

is told what loads the file, as "module:attribute", and answers frames
(`converters.processes.frames`). The first tells how it was loaded: `load` and `first` in
milliseconds, `resident` bytes before the file was loaded (0: not known), and the `device`, if it
is another. Then for each {"runs": n, "most": ms} come `wall` and `cpu` milliseconds of up to n
runs (`cpu` is empty where the runtime is in yet another process) and the `peak` of resident
bytes; for {"layers": true} come the milliseconds of each layer. {"feed": true} brings tensors by
the names of the file's inputs, which the first answer lists in the file's order: all runs that
follow take them, and the answer is the outputs.
"""

from __future__ import annotations

import functools
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure.timing import memory
from benchmarks.measure.timing.loaded import Loaded
from converters.api import Tensors
from converters.format import resolve
from converters.processes import frames
from model_defs.errors import MlshipError

WARM, WARM_MS = 3, 2_000.0
"""Runs after the first that are not counted, and the milliseconds after which there is no more."""


def main() -> None:
    """Serve on standard input and output, which nothing else may write to."""
    write, take = frames.standard()

    def answer(header: dict[str, Any], tensors: Tensors) -> None:
        write(frames.pack(header, tensors))

    try:
        _, load, imports, options, file, threads = sys.argv
        given = [text for text in options.split(",") if text]
        for module in filter(None, imports.split(",")):
            importlib.import_module(module)  # ahead, so that it is not counted as the file's
        loading = functools.partial(resolve(load), Path(file), int(threads), *given)
        serve(loading, answer, take)
    except (MlshipError, RuntimeError, ValueError, OSError, ImportError, KeyError) as error:
        answer({"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}, {})


def serve(
    load: Callable[[], Loaded],
    answer: Callable[[dict[str, Any], Tensors], None],
    take: Callable[[int], bytes],
) -> None:
    """Load, warm up, then time what is asked for."""
    before = memory.resident()
    start = time.perf_counter()
    loaded = load()
    took = (time.perf_counter() - start) * 1e3
    ports = {"inputs": loaded.inputs, "outputs": loaded.outputs}
    known = 0 if loaded.timer else before
    answer(_started(loaded, took) | {"resident": known, **ports}, {})
    while True:
        asked, tensors = frames.read(take)
        answer(*answered(loaded, asked, tensors))


def answered(
    loaded: Loaded, asked: dict[str, Any], tensors: Tensors
) -> tuple[dict[str, Any], Tensors]:
    """The answer to one request."""
    if asked.get("feed"):
        if loaded.feed is None:
            raise ValueError("this runtime draws its inputs itself")
        return {}, loaded.feed(tensors)
    if asked.get("layers"):
        return {"layers": loaded.layers() if loaded.layers else {}}, {}
    wall, cpu = timed(loaded, asked["runs"], asked["most"])
    most = loaded.elsewhere.peak() if loaded.elsewhere else memory.peak()
    return {"wall": wall, "cpu": cpu, "peak": most}, {}


def _started(loaded: Loaded, took: float) -> dict[str, Any]:
    """How loading and the first run went; then the runtime is warm."""
    if loaded.elsewhere:
        there = loaded.elsewhere
        return {"load": there.load, "first": there.first, "device": there.device}
    first = timed(loaded, 1, 0)[0][0]
    if first < WARM_MS:
        timed(loaded, WARM, WARM_MS)
    return {"load": took, "first": first, "device": ""}


def timed(loaded: Loaded, runs: int, most: float) -> tuple[list[float], list[float]]:
    """Milliseconds of each run, by the clock and of CPU.

    At least one and at most `runs`, none after these have taken `most` together.
    """
    if loaded.timer is not None:
        return loaded.timer(runs), []
    wall: list[float] = []
    cpu: list[float] = []
    while len(wall) < runs and (not wall or sum(wall) < most):
        start, busy = time.perf_counter(), time.process_time()
        loaded.run()
        cpu.append((time.process_time() - busy) * 1e3)
        wall.append((time.perf_counter() - start) * 1e3)
    return wall, cpu


if __name__ == "__main__":
    main()
