"""Zero the smallest numbers of kernels: anywhere, or N of every M in a row."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from converters.api import Program
from model_defs.errors import BadRecipe, UnknownName
from toolchain.quantization.grids import LAYERS


@dataclass(frozen=True)
class PruneWeights:
    """The numbers of the least magnitude become 0; the rest stay as they are (Han 2015).

    Before: kernels of float32 numbers
    After:  the same, `ratio` of them 0: of all kernels together ("global"), or of each ("layer")

    `pattern` "2:4" takes the ratio's place: of 4 neighbours along the input channels 2 stay, for
    each output and place of the window (Mishra 2021). Blocked then where the inputs are no
    multiple of that, as in depthwise kernels; and always for biases and norms.
    """

    name: ClassVar[str] = "prune-weights"
    exact: ClassVar[bool] = False

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
        if program.encodings:
            raise _wrong("the weights are encoded already", "name it before what encodes them")
        module = copy.deepcopy(program.module)
        kernels = _kernels(module)
        before = sum(int((kernel == 0).sum()) for kernel in kernels)
        with torch.no_grad():
            if self.pattern:
                skipped = [kernel for kernel in kernels if not self._by_pattern(kernel)]
            else:
                skipped = []
                for group in [kernels] if self.scope == "global" else [[k] for k in kernels]:
                    _zero_least(group, self.ratio)
        zeros = sum(int((kernel == 0).sum()) for kernel in kernels)
        if zeros == before:
            return program
        numbers = sum(kernel.numel() for kernel in kernels)
        note = f"{zeros / numbers:.0%} of {numbers:,} numbers in kernels are 0"
        if skipped:
            note += f"; {len(skipped)} kernels were left: no multiple of {self._of} inputs"
        return replace(program, module=module, notes=(*program.notes, note))

    def _by_pattern(self, kernel: Tensor) -> bool:
        """Whether the kernel, its input channels second, could be pruned."""
        if kernel.shape[1] % self._of:
            return False
        rows = kernel.movedim(1, -1)
        blocks = rows.unflatten(-1, (-1, self._of))
        least = blocks.abs().argsort(dim=-1, stable=True)[..., : self._of - self._stay]
        kernel.copy_(blocks.scatter(-1, least, 0.0).flatten(-2).movedim(-1, 1))
        return True


def _kernels(module: nn.Module) -> list[Tensor]:
    """Each kernel once, (outputs, inputs, ...)."""
    found = {
        id(layer.weight): layer.weight.transpose(0, 1)
        if isinstance(layer, _ConvTransposeNd)
        else layer.weight
        for layer in module.modules()
        if isinstance(layer, LAYERS)
    }
    return list(found.values())


def _zero_least(kernels: list[Tensor], ratio: float) -> None:
    """Of these kernels together: exactly that share, to the nearest number."""
    sizes = torch.cat([kernel.abs().flatten() for kernel in kernels]) if kernels else torch.empty(0)
    stays = torch.ones_like(sizes)
    stays[sizes.argsort(stable=True)[: round(ratio * len(sizes))]] = 0
    for kernel, mask in zip(kernels, stays.split([k.numel() for k in kernels]), strict=True):
        kernel.mul_(mask.reshape(kernel.shape))


def _wrong(what: str, do: str) -> BadRecipe:
    return BadRecipe(f"{PruneWeights.name}: {what}", do=do)
