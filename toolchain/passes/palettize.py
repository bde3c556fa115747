"""Give every kernel a palette of a few numbers, of which each of its numbers is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from toolchain.passes.base import NO_KERNEL, Option, Pass

if TYPE_CHECKING:
    from converters.api import Program


@dataclass(frozen=True)
class Palettize(Pass):
    """Each kernel of a convolution or linear layer has at most 2 ** bits different numbers.

    Before: float32 kernels
    After:  float32 kernels whose numbers are of a palette of float16 numbers, encoded "palette4"
    The palette is k-means' (Han 2016); with `sensitive` a number counts as much as the outputs
    depend on it (Kim 2024, SqueezeLLM, equation 3), so that those that matter are kept. What a
    number loses by it those behind it in its row make up for, on pictures (Frantar 2023). Where
    more than an even share of the numbers is zero, one of the palette is, so that zeros stay.
    Kernels of up to 4096 numbers become 8-bit integers, but of palettes of 8 bits: "int8".
    Blocked for biases, norms and other parameters, for the layers in `keep`, for a kernel that is
    zero everywhere, and where float16 would take fewer bytes.
    """

    name: ClassVar[str] = "palettize"
    exact: ClassVar[bool] = False
    idle: ClassVar[str] = NO_KERNEL
    option: ClassVar[Option] = Option(
        "bits",
        (8, 6, 4, 3, 2),
        optional=False,
        example="palettize=4 or palettize=4/sensitive",
        words={"sensitive": {"sensitive": True}},
    )

    bits: int = 4
    sensitive: bool = False
    keep: tuple[str, ...] = ()

    @property
    def stores(self) -> tuple[str, ...]:
        return (f"palette{self.bits}",)

    def __call__(self, program: Program) -> Program:
        from toolchain.quantization.gptq import collect_moments
        from toolchain.quantization.gradients import collect_squared_gradients
        from toolchain.quantization.grids import quantize_kernels, wide_where_small
        from toolchain.quantization.palettes import chooser

        counts = collect_squared_gradients(program) if self.sensitive else {}
        choose = wide_where_small(chooser(self.bits, counts))
        return quantize_kernels(program, choose, self.keep, collect_moments(program))
