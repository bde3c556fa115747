"""Zero the smallest numbers of kernels: anywhere, or N of every M in a row."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from model_defs.errors import BadRecipe, UnknownName
from toolchain.passes.base import OF_EACH_LAYER, Option, Pass

if TYPE_CHECKING:
    from converters.api import Program


@dataclass(frozen=True)
class PruneWeights(Pass):
    """The numbers of the least magnitude become 0; the rest stay as they are (Han 2015).

    Before: kernels of float32 numbers
    After:  the same, `ratio` of them 0: of all kernels together ("global"), or of each ("layer")

    `pattern` "2:4" takes the ratio's place: of 4 neighbours along the input channels 2 stay, for
    each output and place of the window (Mishra 2021). Blocked then where the inputs are no
    multiple of that, as in depthwise kernels; and always for biases and norms.
    """

    name: ClassVar[str] = "prune-weights"
    exact: ClassVar[bool] = False
    prunes: ClassVar[bool] = True
    idle: ClassVar[str] = (
        "there is no kernel, or none whose inputs are a multiple of the pattern, or the ratio is "
        "of less than one number"
    )
    option: ClassVar[Option] = Option(
        "ratio",
        bounds=(0, 1),
        example="prune-weights=0.5 or prune-weights=2:4",
        instead={each: {"pattern": each} for each in ("1:2", "1:4", "2:4", "4:8")},
        words=OF_EACH_LAYER,
    )

    ratio: float = 0.5
    scope: Literal["global", "layer"] = "global"
    pattern: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise _wrong(f"ratio is {self.ratio:g}", "give a share from 0 up to, not with, 1")
        if self.scope not in ("global", "layer"):
            raise UnknownName.among("scope", self.scope, ("global", "layer"))
        if self.pattern and not 0 < self._stay < self._of:
            raise _wrong(f"pattern is '{self.pattern}'", "write N:M, of which N stay, such as 2:4")

    @property
    def _stay(self) -> int:
        return self._numbers()[0]

    @property
    def _of(self) -> int:
        return self._numbers()[1]

    def _numbers(self) -> tuple[int, int]:
        found = re.fullmatch(r"(\d+):(\d+)", self.pattern)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def __call__(self, program: Program) -> Program:
        import torch

        from converters.program_graph import with_module
        from toolchain.pruning.magnitude import kernels_of, zero_by_pattern, zero_least

        if program.encodings:
            raise _wrong("the weights are encoded already", "name it before what encodes them")
        module = copy.deepcopy(program.module)
        kernels = kernels_of(module)
        before = sum(int((kernel == 0).sum()) for kernel in kernels)
        with torch.no_grad():
            if self.pattern:
                skipped = [k for k in kernels if not zero_by_pattern(k, self._stay, self._of)]
            else:
                skipped = []
                for group in [kernels] if self.scope == "global" else [[k] for k in kernels]:
                    zero_least(group, self.ratio)
        zeros = sum(int((kernel == 0).sum()) for kernel in kernels)
        if zeros == before:
            return program
        numbers = sum(kernel.numel() for kernel in kernels)
        note = f"{zeros / numbers:.0%} of {numbers:,} numbers in kernels are 0"
        if skipped:
            note += f"; {len(skipped)} kernels were left: no multiple of {self._of} inputs"
        return with_module(program, module, notes=(*program.notes, note))


def _wrong(what: str, do: str) -> BadRecipe:
    return BadRecipe(f"{PruneWeights.name}: {what}", do=do)
