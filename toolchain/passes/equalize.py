"""Even out the ranges of channels between a layer and the one that reads it."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from converters.api import Program
from toolchain.quantization.consumers import pairs
from toolchain.quantization.grids import LAYERS, TRANSPOSED

NUMBERS = ("relu", "leaky_relu", "prelu", "dropout")
"""Functions f with f(s x) = s f(x) for every s > 0, on each number by itself."""


def _of_maps(rank: int) -> tuple[str, ...]:
    """Those on maps of this rank: they mix places, not channels."""
    pools = ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool")
    return (*NUMBERS, "interpolate", *(f"{pool}{rank}d" for pool in pools))


THROUGH: dict[type[nn.Module], Collection[str]] = {
    nn.Linear: NUMBERS,
    **dict.fromkeys((nn.Conv1d, nn.ConvTranspose1d), _of_maps(1)),
    **dict.fromkeys((nn.Conv2d, nn.ConvTranspose2d), _of_maps(2)),
    **dict.fromkeys((nn.Conv3d, nn.ConvTranspose3d), _of_maps(3)),
}
"""What may lie between a layer and the one that reads it."""


@dataclass(frozen=True)
class Equalize:
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

    def __call__(self, program: Program) -> Program:
        module = copy.deepcopy(program.module)
        layers = [tuple(map(module.get_submodule, pair)) for pair in equalizable_pairs(program)]
        moved = False
        while sum(_even_out(*pair) for pair in layers):
            moved = True
        return replace(program, module=module) if moved else program


def equalizable_pairs(program: Program) -> list[tuple[str, str]]:
    """The paths of each (layer, the layer that alone reads its channels, as channels)."""
    layer: Any = program.module.get_submodule
    encoded = {name.rpartition(".")[0] for name in program.encodings}
    return [
        (first, second)
        for first, second in pairs(program, THROUGH, LAYERS)
        if layer(first).weight.dim() == layer(second).weight.dim()
        if not encoded & {first, second}
    ]


def _even_out(first: Any, second: Any) -> bool:
    """Scales what is between two layers; whether anything had to be."""
    made, read = _parts(first), _parts(second)
    powers = _powers(made.abs().amax((2, 3)).flatten(), read.abs().amax((1, 3)).flatten())
    if not powers.any():
        return False
    made *= _scales(-powers).view(len(made), -1, 1, 1)
    read *= _scales(powers).view(len(read), 1, -1, 1)
    if first.bias is not None:
        first.bias *= _scales(-powers)
    return True


def _parts(layer: Any) -> Tensor:
    """A view of a layer's kernel: (groups, outputs, inputs, places)."""
    groups, kernel = getattr(layer, "groups", 1), layer.weight
    parts: Tensor = kernel.view(groups, len(kernel) // groups, kernel.shape[1], -1)
    return parts.transpose(1, 2) if isinstance(layer, TRANSPOSED) else parts


def _powers(made: Tensor, read: Tensor) -> np.ndarray:
    """log2 s for each channel: with a ratio in [2 ** (2n - 1), 2 ** (2n + 1)) it is n.

    In integers, so that what was evened out stays: then the ratio is in [1 / 2, 2).
    """
    first, second = made.double().numpy(), read.double().numpy()
    both = (first > 0) & (second > 0)
    ratio = np.divide(first, second, out=np.ones_like(first), where=both)
    return np.frexp(ratio)[1] // 2


def _scales(powers: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ldexp(np.float32(1), powers))
