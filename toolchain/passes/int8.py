"""Weights and activations in 8 bits, so that a runtime can compute in integers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from converters.format import ACTIVATIONS
from model_defs.errors import RecipeMismatch, UnknownName
from toolchain.passes.base import Option, Pass

if TYPE_CHECKING:
    from converters.api import Program

RANGES = ("mse", "percentile", "kl", "minmax")
"""The keys of `toolchain.quantization.ranges.RANGES`."""


@dataclass(frozen=True)
class Int8(Pass):
    """Convolutions, linear layers and sums read and write numbers on grids of 256.

    Before: x -> Conv2d(W, b) -> ReLU -> y
    After:  x on a grid -> Conv2d(W on grids, b) -> ReLU -> y on a grid
    Each kernel is on grids as after `weights-int8`, but rounded by GPTQ (Frantar 2023); each
    bias is a multiple of the steps of what it is added to. The grids of activations reach what
    `ranges` makes of the activations on pictures. What selects, enlarges and joins numbers stays
    on their grids (Jacob 2018); all else computes in floats: products, divisions, softmax, norms.
    Blocked for the layers in `keep`, for kernels that `weights-int8` would leave, for a layer
    whose own errors are LOUD, and where a step would be no normal float16: below 6e-5, as of an
    attention over a thousand places. RecipeMismatch where no layer is left.
    """

    name: ClassVar[str] = "int8"
    exact: ClassVar[bool] = False
    option: ClassVar[Option] = Option("ranges", RANGES, example="int8=mse")

    ranges: str = "mse"
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.ranges not in RANGES:
            raise UnknownName.among("range", self.ranges, RANGES)

    @property
    def stores(self) -> tuple[str, ...]:
        return (f"int8{ACTIVATIONS}",)

    def __call__(self, program: Program) -> Program:
        from converters.program_graph import captured_of
        from toolchain.quantization import integers
        from toolchain.quantization.activations import OnGrids
        from toolchain.quantization.calls import list_calls
        from toolchain.quantization.gptq import collect_moments
        from toolchain.quantization.grids import quantize_kernels, symmetric
        from toolchain.quantization.sites import Sites

        if isinstance(program.module, OnGrids):
            return program
        rounded = quantize_kernels(program, symmetric("int8"), self.keep, collect_moments(program))
        layers = integers.integer_layers(rounded)
        sites = Sites(*list_calls(captured_of(program), program.module), layers)
        if not sites.computing:
            raise RecipeMismatch(
                f"{self.name}: no layer is left that could compute in integers",
                where=program.spec.name,
                do="name it before what encodes weights, or use weights-int8",
            )
        grids = integers.choose_grids(program, sites, self.ranges)
        kept = integers.find_too_fine(sites, grids)
        kept = kept or integers.find_loud(program, rounded, sites, grids)
        if not kept:
            return integers.quantize_activations(rounded, sites, grids)
        after = replace(self, keep=(*self.keep, *kept))(program)
        return replace(after, kept={**kept, **after.kept})
