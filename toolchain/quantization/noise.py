"""What a layer that computes in integers gets wrong by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from converters.api import Program
from toolchain.quantization.activations import Grid
from toolchain.quantization.calls import Calls, FunctionCall
from toolchain.quantization.observers import inputs_of
from toolchain.quantization.sites import Site, Sites

EVERY = 4
"""Layers are compared on one of so many pictures of the calibration."""


def measure_noise(
    program: Program, rounded: Program, sites: Sites, grids: Mapping[Site, Grid]
) -> dict[str, float]:
    """Layer -> the mean square of its errors, as a share of its result's variance.

    Each layer of `rounded` reads what the program computes in floats, put onto its grid.
    """
    kernels = {path: rounded.module.get_parameter(f"{path}.weight") for path in sites.layers}
    found: dict[str, list[float]] = {path: [] for path in sites.layers}
    with torch.no_grad():
        for inputs in inputs_of(program)[::EVERY]:
            with _Beside(sites, grids, kernels, found):
                program.module(*inputs)
    return {path: sum(shares) / len(shares) for path, shares in found.items()}


class _Beside(Calls):
    """Computes each layer in integers beside the run in floats, which goes on with its own."""

    def __init__(
        self,
        sites: Sites,
        grids: Mapping[Site, Grid],
        kernels: Mapping[str, Tensor],
        found: dict[str, list[float]],
    ) -> None:
        super().__init__()
        self._sites, self._grids, self._kernels, self._found = sites, grids, kernels, found
        self._waiting: dict[Site, tuple[str, Tensor]] = {}

    def made(self, number: int, call: FunctionCall) -> Any:
        layer = self._sites.calls[number].layer
        if layer in self._kernels and number in self._sites.computing:
            # The floats of the undisturbed run, put onto the grid: the error is this layer's own,
            # not that of all before it, which would make the last layers look worst.
            read = self._grids[self._sites.grid_read(number)].rounded(call.args[0])
            own = call.again(read, self._kernels[layer])
            self._waiting[self._sites.result_of(number)] = layer, own
        # The result is rounded behind its ReLU, so the comparison waits for that.
        if number in self._waiting:
            layer, own = self._waiting.pop(number)
            if self._sites.calls[number].kind == "rectify":
                own = call.again(own)
            own = self._grids[self._sites.leader(number)].rounded(own)
            error = float((own - call.result).square().mean())
            self._found[layer].append(error / max(float(call.result.var()), 1e-30))
        return call.result
