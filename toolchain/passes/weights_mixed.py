"""Give each kernel the type that was chosen for its layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from model_defs.errors import RecipeMismatch
from toolchain.passes.base import Pass

if TYPE_CHECKING:
    import numpy as np

    from converters.api import Program
    from converters.encodings import Encoding


@dataclass(frozen=True)
class WeightsMixed(Pass):
    """Each kernel of a layer in `layers` becomes numbers on a grid of its own type.

    Before: float32 kernels
    After:  float32 kernels whose numbers their encodings store; other layers as they were
    Rounding is by GPTQ (Frantar 2023). `layers` are pairs of a module's path and a key of KINDS.
    Blocked for the layers in `keep`, for a kernel that is zero everywhere, and where float16
    would take fewer bytes. RecipeMismatch for a layer that the module has not.
    """

    name: ClassVar[str] = "weights-mixed"
    exact: ClassVar[bool] = False

    layers: tuple[tuple[str, str], ...] = ()
    keep: tuple[str, ...] = ()

    @property
    def stores(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(kind for _, kind in self.layers))

    def __call__(self, program: Program) -> Program:
        from toolchain.quantization.gptq import collect_moments
        from toolchain.quantization.grids import quantize_kernels
        from toolchain.quantization.kinds import KINDS

        if not self.layers:
            return program
        kinds = dict(self.layers)
        paths = {path for path, _ in program.module.named_modules()}
        if unknown := sorted(kinds.keys() - paths):
            raise RecipeMismatch(
                f"the recipe is for another model: there is no layer '{unknown[0]}'",
                where=program.spec.name,
                do=f"mlship shrink {program.spec.name} writes one for it",
            )

        def choose(name: str, kernel: np.ndarray, axis: int) -> Encoding:
            return KINDS[kinds[name.rpartition(".")[0]]](name, kernel, axis)

        others = paths - kinds.keys()
        return quantize_kernels(program, choose, (*self.keep, *others), collect_moments(program))
