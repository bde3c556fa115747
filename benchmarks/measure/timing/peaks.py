"""What a machine can do at most: loads that take no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.measure.timing.loaded import Loaded, numbers

PEAK_SIZE = 768
COPIED = 1 << 26


def product(path: Path, threads: int) -> Loaded:
    """The product of two square matrices, PEAK_SIZE ** 3 multiply-adds. No file.

    The threads are those that its process's environment allows.
    """
    x = numbers((PEAK_SIZE, PEAK_SIZE))
    return Loaded(lambda: x @ x)


def copy(path: Path, threads: int) -> Loaded:
    """COPIED bytes read and as many written. No file."""
    source = np.ones(COPIED // 4, np.float32)
    target = np.empty_like(source)
    return Loaded(lambda: np.copyto(target, source))
