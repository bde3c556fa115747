"""Put every kernel onto grids of 4-bit integers, one for each output channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from converters.format import BLOCKS
from toolchain.passes.base import NO_KERNEL, Option, Pass

if TYPE_CHECKING:
    from converters.api import Program


@dataclass(frozen=True)
class WeightsInt4(Pass):
    """Each kernel of a convolution or linear layer becomes the nearest numbers of its grids.

    Before: float32 kernels
    After:  float32 kernels whose numbers are `code * scale`, a code within 7 of zero and a scale
            for each output channel, or for each `block` of input channels in it; "int4"
    Kernels of up to 4096 numbers are rounded to 8 bits: "int8".
    What a number loses those behind it in its row make up for, on pictures (Frantar 2023).
    Blocked for biases, norms and other parameters, for the layers in `keep`, for a kernel that is
    zero everywhere, and where float16 would take fewer bytes.
    """

    name: ClassVar[str] = "weights-int4"
    exact: ClassVar[bool] = False
    idle: ClassVar[str] = NO_KERNEL
    option: ClassVar[Option] = Option("block", (16, 32, 64), example="weights-int4=32")

    block: int = 0
    keep: tuple[str, ...] = ()

    @property
    def stores(self) -> tuple[str, ...]:
        return (f"int4{BLOCKS}" if self.block else "int4",)

    def __call__(self, program: Program) -> Program:
        from toolchain.quantization.gptq import collect_moments
        from toolchain.quantization.grids import quantize_kernels, symmetric, wide_where_small

        choose = wide_where_small(symmetric("int4", self.block))
        return quantize_kernels(program, choose, self.keep, collect_moments(program))
