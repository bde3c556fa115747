"""Weights and activations in 8 bits, so that a runtime can compute in integers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from converters.api import Program
from converters.capture import example
from converters.encodings import Encoding
from model_defs.errors import BadRecipe, UnknownName
from toolchain.passes.activations import Grid, Grids, OnGrids, put
from toolchain.passes.calls import recorded
from toolchain.passes.grids import on_grids, symmetric
from toolchain.passes.observed import observed
from toolchain.passes.ranges import RANGES, Seen, merged
from toolchain.passes.sites import Site, Sites


@dataclass(frozen=True)
class Int8:
    """Convolutions, linear layers and sums read and write numbers on grids of 256.

    Before: x -> Conv2d(W, b) -> ReLU -> y
    After:  x on a grid -> Conv2d(W on grids, b) -> ReLU -> y on a grid
    Each kernel is on grids as after `weights-int8`, each bias a multiple of the steps of what it
    is added to. The grids of activations reach what `ranges` makes of the activations on
    pictures. What selects, pools and joins stays on grids (Jacob 2018).
    Blocked for the layers in `keep`, for kernels that `weights-int8` would leave, and where a
    grid's step would be no normal float16: below 6e-5, as of an attention over a thousand places.
    Everything else computes in floats: products, divisions, softmax, norms.
    BadRecipe where no layer is left.
    """

    name: ClassVar[str] = "int8"
    exact: ClassVar[bool] = False
    ranges: str = "percentile"
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.ranges not in RANGES:
            raise UnknownName.among("range", self.ranges, RANGES)

    def __call__(self, program: Program) -> Program:
        if isinstance(program.module, OnGrids):
            return program
        after = on_grids(program, symmetric("int8"), self.keep)
        layers = {
            name.rpartition(".")[0]
            for name, encoding in after.encodings.items()
            if encoding.dtype == "int8" and not encoding.block
        }
        seen = observed(program)
        calls, returned = recorded(program.module, example(program.spec))
        sites, grids = self._placed(Sites(calls, returned, layers), seen)
        if not sites.computing:
            raise BadRecipe(
                f"{self.name}: no layer is left that could compute in integers",
                where=program.spec.name,
                do="name it before what encodes weights, or use weights-int8",
            )
        at = {site: grids[leader] for leader, group in sites.groups.items() for site in group}
        read = {layer: sites.read_by(layer) for layer in sites.layers}
        reads = {layer: grids[leader] for layer, leader in read.items() if leader is not None}
        put(after.module, Grids(at, len(calls), reads))
        biases = _round_biases(after, sites.layers, reads)
        return replace(after, encodings={**after.encodings, **biases})

    def _placed(self, sites: Sites, seen: Mapping[int, Seen]) -> tuple[Sites, dict[Site, Grid]]:
        """The sites whose groups all have a grid, without the layers that read or write others."""
        while True:
            found = {leader: self._grid(seen, group) for leader, group in sites.groups.items()}
            without = [leader for leader, grid in found.items() if grid is None]
            if not without:
                return sites, {leader: grid for leader, grid in found.items() if grid}
            floats = {layer for leader in without for layer in sites.touching(leader)}
            sites = Sites(sites.calls, sites.returned, set(sites.integers) - floats)

    def _grid(self, seen: Mapping[int, Seen], group: tuple[Site, ...]) -> Grid | None:
        return Grid.of(*RANGES[self.ranges](merged([seen[site] for site in group])))


def _round_biases(
    program: Program, layers: Iterable[str], reads: Mapping[str, Grid]
) -> dict[str, Encoding]:
    """Makes each bias a multiple of its input's step times its kernel's; how they are stored.

    A layer that is called more than once has no such multiple, and keeps its bias.
    """
    encodings = {}
    for path in layers:
        bias = getattr(program.module.get_submodule(path), "bias", None)
        if bias is None:
            continue
        encodings[f"{path}.bias"] = Encoding("int32")
        if path in reads:
            kernel = program.encodings[f"{path}.weight"]
            steps = torch.tensor(kernel.scales) * reads[path].scale
            bias.data = torch.round(bias.data / steps) * steps
    return encodings
