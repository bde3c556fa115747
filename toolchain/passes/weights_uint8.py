"""Put every kernel onto a grid of 256 numbers, whose codes are stored in 1 byte each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from toolchain.passes.base import NO_KERNEL, Pass

if TYPE_CHECKING:
    from converters.api import Program


@dataclass(frozen=True)
class WeightsUint8(Pass):
    """Each kernel of a convolution or linear layer becomes the nearest numbers of a grid.

    Before: float32 kernels
    After:  float32 kernels whose numbers are `code * scale + minimum`, encoded "uint8"
    Where the layer has a bias, this makes up for what its outputs are then off by on average, on
    pictures (Nagel 2019, section 4.2): not a transposed convolution's, nor one that is encoded.
    Blocked for biases, norms and other parameters, for the layers in `keep`, for a kernel that is
    zero everywhere, and where float16 would take fewer bytes.
    """

    name: ClassVar[str] = "weights-uint8"
    exact: ClassVar[bool] = False
    idle: ClassVar[str] = NO_KERNEL

    keep: tuple[str, ...] = ()

    @property
    def stores(self) -> tuple[str, ...]:
        return ("uint8",)

    def __call__(self, program: Program) -> Program:
        from toolchain.quantization.gptq import collect_means
        from toolchain.quantization.grids import affine, quantize_kernels

        return quantize_kernels(program, affine("uint8"), self.keep, met=collect_means(program))
