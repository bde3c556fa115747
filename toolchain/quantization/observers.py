"""The activations of a net on the pictures of the calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from converters.api import Program
from converters.graph.captured import GraphCall
from converters.program_graph import captured_of, tensors_of, watch
from toolchain.quantization.calls import is_map, number_nodes
from toolchain.quantization.module_cache import cache_by_module
from toolchain.quantization.ranges import BINS, Histogram

See = Callable[[int, Tensor], None]
"""Given the number of an operation, or of an input (below 0), and the map."""


@cache_by_module
def observe(program: Program) -> Mapping[int, Histogram]:
    """What was seen of each operation's map, and of each input, by its number (see `calls`).

    Once for the ends, once more for what lies between.
    """
    ends: dict[int, tuple[float, float]] = {}
    counts: dict[int, np.ndarray] = {}

    def see_ends(number: int, numbers: Tensor) -> None:
        low, high = (float(end) for end in torch.aminmax(numbers))
        before = ends.get(number, (low, high))
        ends[number] = min(low, before[0]), max(high, before[1])

    def see_between(number: int, numbers: Tensor) -> None:
        low, high = ends[number]
        if high > low:
            found = torch.histc(numbers.flatten(), BINS, low, high).numpy().astype(np.float64)
            counts[number] = counts.get(number, np.zeros(BINS)) + found

    # Twice over the pictures: bins need the ends first, and the maps of all operations and pictures
    # together do not fit into memory.
    for see in (see_ends, see_between):
        feed_pictures(program, see)
    return {n: Histogram(*ends[n], counts.get(n, np.zeros(BINS))) for n in ends}


def feed_pictures(program: Program, see: See) -> None:
    """Runs the program on the pictures; `see` is given every map."""
    from toolchain.data import calibration

    numbers = number_nodes(captured_of(program).graph)

    def seen(call: GraphCall) -> Any:
        if is_map(call.result):
            see(numbers[call.node], call.result)
        return call.result

    for given in calibration.inputs_for(program):
        for place, tensor in enumerate(tensors_of(program, given)):
            if tensor.is_floating_point():  # tokens and masks lie on no grid
                see(-1 - place, tensor)
        watch(program, given, seen)
