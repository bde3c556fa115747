"""Kernels without the numbers of least magnitude."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from toolchain.quantization.grids import LAYERS


def kernels_of(module: nn.Module) -> list[Tensor]:
    """Each kernel once, (outputs, inputs, ...)."""
    found = {
        id(layer.weight): layer.weight.transpose(0, 1)
        if isinstance(layer, _ConvTransposeNd)
        else layer.weight
        for layer in module.modules()
        if isinstance(layer, LAYERS)
    }
    return list(found.values())


def zero_least(kernels: list[Tensor], ratio: float) -> None:
    """Of these kernels together: exactly that share, to the nearest number."""
    sizes = torch.cat([kernel.abs().flatten() for kernel in kernels]) if kernels else torch.empty(0)
    stays = torch.ones_like(sizes)
    stays[sizes.argsort(stable=True)[: round(ratio * len(sizes))]] = 0
    for kernel, mask in zip(kernels, stays.split([k.numel() for k in kernels]), strict=True):
        kernel.mul_(mask.reshape(kernel.shape))


def zero_by_pattern(kernel: Tensor, stay: int, of: int) -> bool:
    """Zeroes all but `stay` of every `of` input channels; whether there is such a multiple.

    The kernel's input channels come second.
    """
    if kernel.shape[1] % of:
        return False
    rows = kernel.movedim(1, -1)
    blocks = rows.unflatten(-1, (-1, of))
    least = blocks.abs().argsort(dim=-1, stable=True)[..., : of - stay]
    kernel.copy_(blocks.scatter(-1, least, 0.0).flatten(-2).movedim(-1, 1))
    return True
