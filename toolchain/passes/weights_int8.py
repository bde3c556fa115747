"""Put every kernel onto grids of 8-bit integers, one for each output channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from toolchain.passes.base import NO_KERNEL, Option, Pass

if TYPE_CHECKING:
    from converters.api import Program


@dataclass(frozen=True)
class WeightsInt8(Pass):
    """Each kernel of a convolution or linear layer becomes the nearest numbers of its grids.

    Before: float32 kernels
    After:  float32 kernels whose numbers are `code * scale`, a code within 127 of zero and a
            scale for each output channel, encoded "int8"
    With kernels "smaller", one of which float16 makes the smaller file stays, too.
    Blocked for biases, norms and other parameters, for the layers in `keep`, for a kernel that is
    zero everywhere, and where float16 would take fewer bytes.
    """

    name: ClassVar[str] = "weights-int8"
    exact: ClassVar[bool] = False
    idle: ClassVar[str] = NO_KERNEL
    option: ClassVar[Option] = Option(
        "kernels", ("all", "smaller"), example="weights-int8 or weights-int8=smaller"
    )

    kernels: str = "all"
    keep: tuple[str, ...] = ()

    @property
    def stores(self) -> tuple[str, ...]:
        return ("int8",)

    def __call__(self, program: Program) -> Program:
        from toolchain.quantization.grids import BESIDE, quantize_kernels, symmetric

        beside = BESIDE if self.kernels == "smaller" else 0
        return quantize_kernels(program, symmetric("int8"), self.keep, beside=beside)
