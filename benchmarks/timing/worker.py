"""One file in one runtime in one process: python -m benchmarks.timing.worker RUNTIME FILE THREADS.

Answers frames (`converters.frames`). The first tells how it was loaded: `load` and `first` in
milliseconds, `resident` bytes before the file was loaded (0: not known), and the `device`, if
it is another. Then for each
{"runs": n, "most": ms} come `wall` and `cpu` milliseconds of up to n runs (`cpu` is empty where
the runtime is in yet another process) and the `peak` of resident bytes; for {"layers": true}
come the milliseconds of each layer.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.timing.loaded import Loaded
from converters import frames
from model_defs.errors import MlshipError

WARM, WARM_MS = 3, 2_000.0
"""Runs after the first that are not counted, and the milliseconds after which there is no more."""
CHILDREN = "/proc/{pid}/task/{pid}/children"


def main() -> None:
    """Serve on standard input and output, which nothing else may write to."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def answer(header: dict[str, Any]) -> None:
        output.write(frames.pack(header, {}))
        output.flush()

    def take(count: int) -> bytes:
        data = sys.stdin.buffer.read(count)
        if len(data) < count:
            sys.exit(0)
        return data

    try:
        serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), answer, take)
    except (MlshipError, RuntimeError, ValueError, OSError, ImportError, KeyError) as error:
        answer({"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"})


def serve(
    runtime: str,
    path: Path,
    threads: int,
    answer: Callable[[dict[str, Any]], None],
    take: Callable[[int], bytes],
) -> None:
    """Load, warm up, then time what is asked for."""
    from benchmarks.timing.runtimes import loader

    load = loader(runtime)
    _imported(runtime)
    before = resident()
    start = time.perf_counter()
    loaded = load(path, threads)
    took = (time.perf_counter() - start) * 1e3
    answer(_started(loaded, took) | {"resident": 0 if loaded.timer else before})
    while True:
        asked, _ = frames.read(take)
        if asked.get("layers"):
            answer({"layers": loaded.layers() if loaded.layers else {}})
            continue
        wall, cpu = timed(loaded, asked["runs"], asked["most"])
        most = loaded.elsewhere.peak() if loaded.elsewhere else peak()
        answer({"wall": wall, "cpu": cpu, "peak": most})


def _started(loaded: Loaded, took: float) -> dict[str, Any]:
    """How loading and the first run went; then the runtime is warm."""
    if loaded.elsewhere:
        there = loaded.elsewhere
        return {"load": there.load, "first": there.first, "device": there.device}
    first = timed(loaded, 1, 0)[0][0]
    timed(loaded, WARM, WARM_MS)
    return {"load": took, "first": first, "device": ""}


def _imported(runtime: str) -> None:
    """Load the runtime's library ahead, so that it is not counted as the file's."""
    import importlib

    from benchmarks.timing.runtimes import find

    for module in find(runtime).imports:
        importlib.import_module(module)


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
    own = _peak_of(os.getpid())
    if not own:
        unit = 1 if sys.platform == "darwin" else 1024
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return max([own, *map(_peak_of, _below(os.getpid()))])


def _below(pid: int) -> list[int]:
    """All processes that a process has started, and those that they have."""
    try:
        children = [int(n) for n in Path(CHILDREN.format(pid=pid)).read_text().split()]
    except OSError:
        return []
    return [*children, *(n for child in children for n in _below(child))]


def _peak_of(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(s.split()[1]) * 1024 for s in lines if s.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    main()
