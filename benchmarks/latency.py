"""One file, one thread, one process: python -m benchmarks.latency FILE [RUNS].

Prints the CPU milliseconds of each run as JSON: on one thread they are what the clock says, but
for the moments in which another process has the core. A .tflite runs in LiteRT with XNNPACK;
`peak` instead of a file multiplies matrices, which tells what the machine can do.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

WARM = 3
ENOUGH = 5_000.0
"""Milliseconds after which a file that takes long is not run again."""


def timed(run: Callable[[], object], runs: int) -> list[float]:
    """Milliseconds of CPU for each run, after some that are not counted.

    At most `runs`, and fewer where these and those that are not counted take ENOUGH each.
    """
    _several(run, WARM)
    return _several(run, runs)


def _several(run: Callable[[], object], most: int) -> list[float]:
    times: list[float] = []
    while len(times) < most and sum(times) < ENOUGH:
        start = time.process_time()
        run()
        times.append((time.process_time() - start) * 1e3)
    return times


def litert(path: str) -> Callable[[], object]:
    """A run of a file on random inputs, on one thread."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    numbers = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        array = numbers.random(detail["shape"], dtype=np.float32)
        interpreter.set_tensor(detail["index"], array)
    return interpreter.invoke


PEAK_SIZE = 768


def product() -> Callable[[], object]:
    """The product of two square matrices on one thread, PEAK_SIZE ** 3 multiply-adds."""
    import numpy as np

    x = np.random.default_rng(0).random((PEAK_SIZE, PEAK_SIZE), dtype=np.float32)
    return lambda: x @ x


def main() -> None:
    name, runs = sys.argv[1], int((sys.argv[2:] or ["10"])[0])
    print(json.dumps(timed(product() if name == "peak" else litert(name), runs)))


if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"
    main()
