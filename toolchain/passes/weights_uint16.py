"""Put every kernel onto a grid of 65536 numbers, whose codes are stored in 2 bytes each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from toolchain.passes.base import NO_KERNEL, Pass

if TYPE_CHECKING:
    from converters.api import Program


@dataclass(frozen=True)
class WeightsUint16(Pass):
    """Each kernel of a convolution or linear layer becomes the nearest numbers of a grid.

    Before: float32 kernels
    After:  float32 kernels whose numbers are `code * scale + minimum`, encoded "uint16"
    Blocked for biases, norms and other parameters, for the layers in `keep`, for a kernel that is
    zero everywhere, and where float16 would take fewer bytes.
    """

    name: ClassVar[str] = "weights-uint16"
    exact: ClassVar[bool] = False
    idle: ClassVar[str] = NO_KERNEL
    near: ClassVar[bool] = True

    keep: tuple[str, ...] = ()

    @property
    def stores(self) -> tuple[str, ...]:
        return ("uint16",)

    def __call__(self, program: Program) -> Program:
        from toolchain.quantization.grids import affine, quantize_kernels

        return quantize_kernels(program, affine("uint16"), self.keep)
