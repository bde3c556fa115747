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
from toolchain.quantization.activations import Grid, Grids, OnGrids, put
from toolchain.quantization.calls import recorded
from toolchain.quantization.gptq import moments
from toolchain.quantization.grids import on_grids, symmetric
from toolchain.quantization.noise import noise
from toolchain.quantization.observers import observed
from toolchain.quantization.ranges import RANGES, merged
from toolchain.quantization.sites import Site, Sites

LOUD = 0.02
"""The error of a layer, as a share of its result's variance, from which on it stays in floats."""


@dataclass(frozen=True)
class Int8:
    """Convolutions, linear layers and sums read and write numbers on grids of 256.

    Before: x -> Conv2d(W, b) -> ReLU -> y
    After:  x on a grid -> Conv2d(W on grids, b) -> ReLU -> y on a grid
    Each kernel is on grids as after `weights-int8`, but rounded adaptively (Frantar 2023); each
    bias is a multiple of the steps of what it is added to. The grids of activations reach what
    `ranges` makes of the activations on pictures. What selects, enlarges and joins numbers stays
    on their grids (Jacob 2018); all else computes in floats: products, divisions, softmax, norms.
    Blocked for the layers in `keep`, for kernels that `weights-int8` would leave, for a layer
    whose own errors are LOUD, and where a step would be no normal float16: below 6e-5, as of an
    attention over a thousand places. BadRecipe where no layer is left.
    """

    name: ClassVar[str] = "int8"
    exact: ClassVar[bool] = False
    ranges: str = "mse"
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.ranges not in RANGES:
            raise UnknownName.among("range", self.ranges, RANGES)

    def __call__(self, program: Program) -> Program:
        if isinstance(program.module, OnGrids):
            return program
        rounded = on_grids(program, symmetric("int8"), self.keep, moments(program))
        sites = Sites(*recorded(program.module, example(program.spec)), _integers(rounded))
        if not sites.computing:
            raise BadRecipe(
                f"{self.name}: no layer is left that could compute in integers",
                where=program.spec.name,
                do="name it before what encodes weights, or use weights-int8",
            )
        grids = self._grids(program, sites)
        spared = self._too_fine(sites, grids) or self._loud(program, rounded, sites, grids)
        if spared:
            after = replace(self, keep=(*self.keep, *spared))(program)
            return replace(after, kept={**spared, **after.kept})
        return _on_grids(rounded, sites, grids)

    def _grids(self, program: Program, sites: Sites) -> dict[Site, Grid]:
        """The grid of each group of sites that can have one, by its leader."""
        seen, chosen = observed(program), RANGES[self.ranges]
        found = {
            leader: Grid.of(*chosen(merged([seen[site] for site in group])))
            for leader, group in sites.groups.items()
        }
        return {leader: grid for leader, grid in found.items() if grid is not None}

    def _too_fine(self, sites: Sites, grids: Mapping[Site, Grid]) -> dict[str, str]:
        without = sites.groups.keys() - grids.keys()
        layers = sorted({layer for leader in without for layer in sites.touching(leader)})
        return dict.fromkeys(layers, "what it reads or gives is too fine, or too large, for 8 bits")

    def _loud(
        self, program: Program, rounded: Program, sites: Sites, grids: Mapping[Site, Grid]
    ) -> dict[str, str]:
        shares = noise(program, rounded, sites, grids)
        return {
            layer: f"in 8 bits {share:.0%} of its result is noise"
            for layer, share in shares.items()
            if share > LOUD
        }


def _integers(program: Program) -> set[str]:
    """The layers whose kernels are codes of int8, with a scale for each channel."""
    return {
        name.rpartition(".")[0]
        for name, encoding in program.encodings.items()
        if encoding.dtype == "int8" and not encoding.block
    }


def _on_grids(program: Program, sites: Sites, grids: Mapping[Site, Grid]) -> Program:
    """The program, whose module is changed, with activations and biases on their grids."""
    at = {site: grids[leader] for leader, group in sites.groups.items() for site in group}
    read = {layer: sites.read_by(layer) for layer in sites.layers}
    reads = {layer: grids[leader] for layer, leader in read.items() if leader is not None}
    put(program.module, Grids(at, len(sites.calls), reads))
    biases = _round_biases(program, sites.layers, reads)
    return replace(program, encodings={**program.encodings, **biases})


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
