"""Activations on grids of 8-bit integers, in a module that is otherwise as it was."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model_defs.errors import BadModule
from toolchain.quantization.calls import Calls, FunctionCall

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
    """The grid of each site that has one, and how many calls a run of the module makes.

    `reads` has the grids of what layers read, by their paths. `jitter` is added to what is about
    to be rounded, or taken away: at most so much of a step, at random.
    """

    at: Mapping[int, Grid]
    calls: int
    reads: Mapping[str, Grid]
    jitter: float = 0.0


class OnGrids(nn.Module):
    """A module whose activations go onto its `grids` as they are made.

    Comes before a module's own class; see `put`.
    """

    grids: Grids

    def forward(self, *inputs: Tensor) -> Any:
        at = self.grids.at
        given = [at[-1 - i].rounded(x) if -1 - i in at else x for i, x in enumerate(inputs)]
        rounding = _Rounding(self.grids)
        with rounding:
            result = super().forward(*given)
        # Sites are numbers of calls: one call more or less, and each grid is at the wrong place.
        if rounding.count != self.grids.calls:
            raise BadModule(
                f"forward made {rounding.count} maps, and {self.grids.calls} when calibrated",
                do="decide in __init__ what forward does, not by the training mode or the sizes",
            )
        return result


class _Rounding(Calls):
    def __init__(self, grids: Grids) -> None:
        super().__init__()
        self._grids, self._random = grids, torch.Generator().manual_seed(0)

    def made(self, number: int, call: FunctionCall) -> Any:
        grid, numbers = self._grids.at.get(number), call.result
        if grid is None:
            return numbers
        if self._grids.jitter:
            aside = torch.rand(numbers.shape, generator=self._random) * 2 - 1
            numbers = numbers + aside * (self._grids.jitter * grid.scale)
        return grid.rounded(numbers)


def jittered(module: OnGrids, jitter: float) -> OnGrids:
    """The module as a runtime would compute it that rounds what lies between codes otherwise."""
    other = copy.copy(module)
    other.grids = replace(module.grids, jitter=jitter)
    return other


def put(module: nn.Module, grids: Grids) -> None:
    """Makes a module put its activations onto grids; paths, numbers and types below it stay."""
    # The class is changed, not the module wrapped: paths are what encodings, weights files and
    # exported names go by, and a wrapper would lengthen all of them.
    kind = type(module)
    module.__class__ = type(kind.__name__, (OnGrids, kind), {"__module__": kind.__module__})
    module.grids = grids  # type: ignore[assignment]
