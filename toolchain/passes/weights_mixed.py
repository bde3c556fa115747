"""Give each kernel the type that was chosen for its layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from converters.api import Program
from converters.encodings import Encoding
from model_defs.errors import BadRecipe
from toolchain.passes.palettize import chooser
from toolchain.quantization.gptq import moments
from toolchain.quantization.grids import Choose, on_grids, symmetric

KINDS: dict[str, Choose] = {
    **{name: symmetric(name) for name in ("int8", "int6", "int4")},
    **{f"palette{bits}": chooser(bits, {}) for bits in (8, 6, 4, 3, 2)},
}
"""The types that a layer may be given, and how its grid is then chosen."""


@dataclass(frozen=True)
class WeightsMixed:
    """Each kernel of a layer in `layers` becomes numbers on a grid of its own type.

    Before: float32 kernels
    After:  float32 kernels whose numbers their encodings store; other layers as they were
    Rounding is adaptive (Frantar 2023). `layers` are pairs of a module's path and a key of KINDS.
    Blocked for the layers in `keep`, for a kernel that is zero everywhere, and where float16
    would take fewer bytes. BadRecipe for a layer that the module has not.
    """

    name: ClassVar[str] = "weights-mixed"
    exact: ClassVar[bool] = False
    layers: tuple[tuple[str, str], ...] = ()
    keep: tuple[str, ...] = ()

    def __call__(self, program: Program) -> Program:
        if not self.layers:
            return program
        paths = {path for path, _ in program.module.named_modules()}
        if unknown := sorted(self._kinds.keys() - paths):
            raise BadRecipe(
                f"the recipe is for another model: there is no layer '{unknown[0]}'",
                where=program.spec.name,
                do=f"mlship shrink {program.spec.name} writes one for it",
            )
        others = paths - self._kinds.keys()
        return on_grids(program, self._choose, (*self.keep, *others), moments(program))

    @cached_property
    def _kinds(self) -> Mapping[str, str]:
        return dict(self.layers)

    def _choose(self, name: str, kernel: np.ndarray, axis: int) -> Encoding:
        return KINDS[self._kinds[name.rpartition(".")[0]]](name, kernel, axis)
