"""What lets a program compute in integers: the grids of its activations, and of its biases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch

from converters.api import Program
from converters.encodings import Encoding
from toolchain.quantization.activations import Grid, Grids, put
from toolchain.quantization.noise import measure_noise
from toolchain.quantization.observers import observe
from toolchain.quantization.ranges import RANGES, merge
from toolchain.quantization.sites import Site, Sites

LOUD = 0.02
"""The error of a layer, as a share of its result's variance, from which on it stays in floats."""


def integer_layers(program: Program) -> set[str]:
    """The layers whose kernels are codes of int8, with a scale for each channel."""
    return {
        name.rpartition(".")[0]
        for name, encoding in program.encodings.items()
        if encoding.dtype == "int8" and not encoding.block
    }


def choose_grids(program: Program, sites: Sites, ranges: str) -> dict[Site, Grid]:
    """The grid of each group of sites that can have one, by its leader."""
    seen, chosen = observe(program), RANGES[ranges]
    found = {
        leader: Grid.of(*chosen(merge([seen[site] for site in group])))
        for leader, group in sites.groups.items()
    }
    return {leader: grid for leader, grid in found.items() if grid is not None}


def find_too_fine(sites: Sites, grids: Mapping[Site, Grid]) -> dict[str, str]:
    """Layer -> why it cannot compute in integers: of its sites one has no grid."""
    without = sites.groups.keys() - grids.keys()
    layers = sorted({layer for leader in without for layer in sites.touching(leader)})
    return dict.fromkeys(layers, "what it reads or gives is too fine, or too large, for 8 bits")


def find_loud(
    program: Program, rounded: Program, sites: Sites, grids: Mapping[Site, Grid]
) -> dict[str, str]:
    """Layer -> why it should not compute in integers: its own rounding is LOUD."""
    shares = measure_noise(program, rounded, sites, grids)
    return {
        layer: f"in 8 bits {share:.0%} of its result is noise"
        for layer, share in shares.items()
        if share > LOUD
    }


def quantize_activations(program: Program, sites: Sites, grids: Mapping[Site, Grid]) -> Program:
    """The program, whose module is changed, with activations and biases on their grids."""
    at = {site: grids[leader] for leader, group in sites.groups.items() for site in group}
    read = {layer: sites.read_by(layer) for layer in sites.layers}
    reads = {layer: grids[leader] for layer, leader in read.items() if leader is not None}
    biases = _round_biases(program, sites.layers, reads)
    put(program, Grids(at, reads))
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
            # A product of two codes counts in steps of scale * scale: a runtime adds the bias to
            # a sum of such products in int32, before it rounds that sum to 8 bits.
            steps = torch.tensor(kernel.scales) * reads[path].scale
            if steps.numel() > 1:  # the groups of a transposed convolution share their steps
                steps = steps.repeat(bias.numel() // steps.numel())
            bias.copy_(torch.round(bias / steps) * steps)
    return encodings
