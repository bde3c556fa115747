"""Activations on grids of 8-bit integers, in the graph of a module that is otherwise as it was."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from converters.api import Program
from converters.capture import example
from converters.graph.captured import GraphCall, OnGraph
from converters.graph.sources import operation_of
from converters.program_graph import captured_of
from model_defs.errors import BadModule
from toolchain.quantization.calls import number_nodes

ROUND = torch.ops.aten.fake_quantize_per_tensor_affine.default

LOWEST, HIGHEST = -128, 127
"""The codes of 8 bits."""

FINEST, COARSEST = 2.0**-14, 65504.0
"""Scales that every format holds and no runtime takes for 0: float16's normal numbers."""


@dataclass(frozen=True)
class Grid:
    """The numbers `(code - zero) * scale`, of which one is 0. Jacob 2018, equation 1.

    The scale is a float16, so that each number of the grid is exact in float32.
    """

    scale: float
    zero: int

    @classmethod
    def of(cls, low: float, high: float) -> Grid | None:
        """The finest that reaches from `low` to `high`, and to 0; None where no scale fits."""
        # Padding and ReLU make exact zeros, which have to stay so: 0 is always within.
        low, high = min(low, 0.0), max(high, 0.0)
        exact = (high - low) / (HIGHEST - LOWEST)
        if not FINEST <= exact <= COARSEST:
            return None
        scale = np.float16(exact)
        # Up, never to the nearest: a smaller step would clip the ends that were asked for.
        if scale < exact:
            scale = np.nextafter(scale, np.float16(np.inf))
        zero = min(max(round(LOWEST - low / float(scale)), LOWEST), HIGHEST)
        return cls(float(scale), zero) if math.isfinite(float(scale)) else None

    def rounded(self, numbers: Tensor) -> Tensor:
        """The nearest numbers of the grid; gradients pass where it reaches."""
        return torch.fake_quantize_per_tensor_affine(
            numbers, self.scale, self.zero, LOWEST, HIGHEST
        )


@dataclass(frozen=True)
class Grids:
    """The grid of each site that has one; `reads` has those of what layers read, by their paths."""

    at: Mapping[int, Grid]
    reads: Mapping[str, Grid]


class OnGrids(OnGraph):
    """A module whose activations go onto its `grids` as they are made: see `put`.

    `jitter` is added to what an operation makes before it is rounded, or taken away: at most so
    much of a step, at random.
    """

    grids: Grids
    jitter: float = 0.0

    def forward(self, *inputs: Tensor) -> Any:
        if not self.jitter:
            return super().forward(*inputs)
        random = torch.Generator().manual_seed(0)
        captured = self.graph_for(inputs)

        def seen(call: GraphCall) -> Any:
            if call.node.target is not ROUND or call.node.args[0] in captured.inputs:
                return call.result
            numbers = call.args[0]
            aside = torch.rand(numbers.shape, generator=random) * 2 - 1
            return call.again(numbers + aside * (self.jitter * call.args[1]))

        return self.returned(captured.run(inputs, seen))


def jittered(module: OnGrids, jitter: float) -> OnGrids:
    """The module as a runtime would compute it that rounds what lies between codes otherwise."""
    other = copy.copy(module)
    other.jitter = jitter
    return other


def put(program: Program, grids: Grids) -> None:
    """Makes a program's module put its activations onto grids; all that it holds stays."""
    module: Any = program.module
    captured, kind = captured_of(program), type(module)
    edit = partial(_round, grids.at, tuple(map(operation_of, captured.operations)))
    sizes = tuple(tensor.shape for tensor in example(program.spec))
    module.grids, module.graphs = grids, {sizes: captured.edited(edit)}
    module.kind, module.edit = kind, edit
    # The class is changed, not the module wrapped: paths are what encodings, weights files and
    # exported names go by, and a wrapper would lengthen all of them.
    module.__class__ = type(kind.__name__, (OnGrids, kind), {"__module__": kind.__module__})


def _round(at: Mapping[int, Grid], operations: Sequence[str], graph: fx.Graph) -> None:
    """Writes a rounding behind each node that has a grid."""
    # Sites are numbers of operations: one more or less, and each grid is at the wrong place.
    found = [operation_of(node) for node in graph.nodes if node.op == "call_function"]
    if found != list(operations):
        raise BadModule(
            f"forward makes {len(found)} operations at this size, and other ones when calibrated",
            do="decide in __init__ what forward does, not by the sizes",
        )
    nodes = number_nodes(graph)
    first = next(node for node, number in nodes.items() if number == 0)
    for node, number in nodes.items():
        if number not in at:
            continue
        with graph.inserting_before(first if number < 0 else node.next):
            args = (node, at[number].scale, at[number].zero, LOWEST, HIGHEST)
            name = "fake_quantize_per_tensor_affine"  # as an export of it would call it
            rounded = graph.create_node("call_function", ROUND, args, name=name)
        rounded.meta = dict(node.meta)
        node.replace_all_uses_with(rounded, partial(operator.is_not, rounded))
