"""Even out the ranges of channels between a layer and the one that reads it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from toolchain.passes.base import Pass

if TYPE_CHECKING:
    from converters.api import Program


@dataclass(frozen=True)
class Equalize(Pass):
    """W1'[i] = W1[i] / s, b1'[i] = b1[i] / s, W2'[:, i] = W2[:, i] * s for each channel i between.

    Before: x -> Conv2d(W1, b1) -> ReLU -> Conv2d(W2, b2) -> y
    After:  x -> Conv2d(W1', b1') -> ReLU -> Conv2d(W2', b2) -> y
    s is the power of two nearest to sqrt(r1 / r2), where r1 and r2 are the largest numbers of
    W1[i] and W2[:, i]: both sides then lose alike to a scale that all of a kernel shares. A power
    of two, so that no number is rounded and the outputs are the same to the bit. All pairs of
    convolutions (depthwise and transposed ones, too) and of linear layers, until none moves.
    Nagel 2019, section 4.1.
    Blocked where something lies between that does not scale (ReLU6, a sigmoid, an ELU, a
    BatchNorm) or has another operand (a sum, a concatenation), where the channels are read twice
    or returned, where a layer or its weight is used more than once, for kernels that are encoded,
    and for channels of which either side is zero.
    """

    name: ClassVar[str] = "equalize"
    exact: ClassVar[bool] = True
    idle: ClassVar[str] = (
        "no layer is read by another alone through what only scales, or all ranges are even"
    )

    def __call__(self, program: Program) -> Program:
        from converters.program_graph import with_module
        from toolchain.quantization.equalization import even_out, find_equalizable_pairs

        module = copy.deepcopy(program.module)
        layers = [
            tuple(map(module.get_submodule, pair)) for pair in find_equalizable_pairs(program)
        ]
        moved = False
        while sum(even_out(*pair) for pair in layers):
            moved = True
        return with_module(program, module) if moved else program
