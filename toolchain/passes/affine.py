"""Kernels on affine grids, whose places are what is stored."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import nn

from converters.api import BITS, Encoding, Program

LAYERS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)


def on_grids(program: Program, dtype: str) -> Program:
    """The program with the kernel of each convolution and linear layer on a grid of its own.

    The same object where there is none left. A kernel that layers share is rounded once.
    """
    module = copy.deepcopy(program.module)
    encodings = dict(program.encodings)
    for path, layer in module.named_modules():
        name = f"{path}.weight" if path else "weight"
        if not isinstance(layer, LAYERS) or name in encodings or not layer.weight.any():
            continue
        kernel = layer.weight.detach()
        encodings[name] = shared(module, name, encodings) or grid(kernel, dtype)
        kernel.copy_(rounded(kernel, encodings[name]))
    if encodings == program.encodings:
        return program
    return replace(program, module=module, encodings=encodings)


def shared(module: nn.Module, name: str, encodings: dict[str, Encoding]) -> Encoding | None:
    """The encoding of a parameter that is the same tensor as this one, under another name."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    return next((e for n, e in encodings.items() if parameters[n] is parameters[name]), None)


def grid(kernel: torch.Tensor, dtype: str) -> Encoding:
    """From a kernel's least to its largest number, with a place exactly at zero.

    Jacob 2018, equation 1.
    """
    low, high = min(0.0, float(kernel.min())), max(0.0, float(kernel.max()))
    scale = (high - low) / (2 ** BITS[dtype] - 1)
    return Encoding(dtype, scale, -round(-low / scale) * scale or 0.0)


def rounded(kernel: torch.Tensor, encoding: Encoding) -> torch.Tensor:
    """The nearest numbers on the grid, as float32."""
    codes = ((kernel.double() - encoding.minimum) / encoding.scale).round()
    codes = codes.clamp(0, 2 ** BITS[encoding.dtype] - 1)
    return (codes * encoding.scale + encoding.minimum).float()
