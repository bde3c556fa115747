"""A file loaded into one of Python's runtimes, ready to run on random inputs.

What loads one takes the file, a number of threads and its runtime's options. Inputs are drawn
from 0 to 1 under seed 0, in the type and shape that the file declares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.api import Tensors

Run = Callable[[], object]
Layers = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Elsewhere:
    """What another device tells of itself: its name, milliseconds to load and first run, bytes."""

    device: str
    load: float
    first: float
    peak: Callable[[], int]


@dataclass(frozen=True)
class Loaded:
    """`run` computes once; `layers` says how many milliseconds each layer takes, where it can.

    `timer`, where the runtime is in another process, runs it so many times and returns the
    milliseconds that were counted there; `elsewhere`, where it is on another device. `feed` takes
    numbers by the names in `inputs`, which all runs that follow compute with, and returns what
    comes out, by the names in `outputs`; both are in the file's order.
    """

    run: Run
    layers: Layers | None = None
    timer: Callable[[int], list[float]] | None = None
    elsewhere: Elsewhere | None = None
    feed: Callable[[Tensors], dict[str, np.ndarray]] | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


def numbers(shape: Any, dtype: Any = np.float32) -> np.ndarray:
    """Values from 0 to 1; an unknown length is 1."""
    fixed = tuple(max(int(n), 1) if isinstance(n, int | np.integer) else 1 for n in shape)
    return np.random.default_rng(0).random(fixed, dtype=np.float32).astype(dtype)
