"""The ranges of channels between a layer and the one that reads it, and how to even them out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from converters.api import Program
from toolchain.quantization.consumers import find_pairs
from toolchain.quantization.grids import LAYERS, TRANSPOSED

NUMBERS = ("relu", "leaky_relu", "prelu")
"""Operations f with f(s x) = s f(x) for every s > 0, on each number by itself."""

ENLARGINGS = {
    1: ("upsample_nearest1d", "upsample_linear1d"),
    2: ("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"),
    3: ("upsample_nearest3d", "upsample_trilinear3d"),
}


def _of_maps(rank: int) -> tuple[str, ...]:
    """Those on maps of this rank: they mix places, not channels."""
    pools = ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool")
    return (*NUMBERS, *ENLARGINGS[rank], *(f"{pool}{rank}d" for pool in pools))


THROUGH: dict[type[nn.Module], Collection[str]] = {
    nn.Linear: NUMBERS,
    **dict.fromkeys((nn.Conv1d, nn.ConvTranspose1d), _of_maps(1)),
    **dict.fromkeys((nn.Conv2d, nn.ConvTranspose2d), _of_maps(2)),
    **dict.fromkeys((nn.Conv3d, nn.ConvTranspose3d), _of_maps(3)),
}
"""What may lie between a layer and the one that reads it."""


def find_equalizable_pairs(program: Program) -> list[tuple[str, str]]:
    """The paths of each (layer, the layer that alone reads its channels, as channels)."""
    layer: Any = program.module.get_submodule
    encoded = {name.rpartition(".")[0] for name in program.encodings}
    return [
        (first, second)
        for first, second in find_pairs(program, THROUGH, LAYERS)
        if layer(first).weight.dim() == layer(second).weight.dim()
        if not encoded & {first, second}
    ]


def even_out(first: Any, second: Any) -> bool:
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
