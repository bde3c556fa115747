"""What a layer that computes in integers gets wrong by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx

from converters.api import Program
from converters.graph.captured import GraphCall
from converters.program_graph import captured_of, watch
from toolchain.quantization.activations import Grid
from toolchain.quantization.calls import number_nodes
from toolchain.quantization.sites import Site, Sites

EVERY = 4
"""Layers are compared on one of so many pictures of the calibration."""


def measure_noise(
    program: Program, rounded: Program, sites: Sites, grids: Mapping[Site, Grid]
) -> dict[str, float]:
    """Layer -> the mean square of its errors, as a share of its result's variance.

    Each layer of `rounded` reads what the program computes in floats, put onto its grid.
    """
    from toolchain.data import calibration

    kernels = {path: rounded.module.get_parameter(f"{path}.weight") for path in sites.layers}
    beside = _Beside(sites, grids, kernels, number_nodes(captured_of(program).graph))
    for given in calibration.inputs_for(program)[::EVERY]:
        watch(program, given, beside.seen)
    return {path: sum(shares) / len(shares) for path, shares in beside.found.items()}


@dataclass
class _Beside:
    """Computes each layer in integers beside the run in floats, which goes on with its own."""

    sites: Sites
    grids: Mapping[Site, Grid]
    kernels: Mapping[str, Tensor]
    numbers: Mapping[fx.Node, int]
    found: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _waiting: dict[Site, tuple[str, Tensor]] = field(default_factory=dict)

    def seen(self, call: GraphCall) -> Any:
        number, sites = self.numbers[call.node], self.sites
        layer = sites.calls[number].layer
        if number in sites.computing and layer in self.kernels:
            # The floats of the undisturbed run, put onto the grid: the error is this layer's own,
            # not that of all before it, which would make the last layers look worst.
            read = self.grids[sites.grid_read(number)].rounded(call.args[0])
            self._waiting[sites.result_of(number)] = layer, call.again(read, self.kernels[layer])
        # The result is rounded behind its ReLU, so the comparison waits for that.
        if number in self._waiting:
            layer, own = self._waiting.pop(number)
            if sites.calls[number].kind == "rectify":
                own = call.again(own)
            own = self.grids[sites.leader(number)].rounded(own)
            error = float((own - call.result).square().mean())
            self.found[layer].append(error / max(float(call.result.var()), 1e-30))
        return call.result
