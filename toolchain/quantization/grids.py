"""Kernels on grids, whose codes are what is stored."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import torch
from torch import nn

from converters.api import Program
from converters.encodings import BITS, Encoding
from converters.program_graph import with_module
from toolchain.quantization.gptq import Means, Moments, round_by_gptq

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, *TRANSPOSED)

Choose = Callable[[str, np.ndarray, int], Encoding]
"""(parameter, its numbers, its axis of output channels) -> the grid for it."""

HALF = 2
"""Bytes of a number in float16, which a grid has to better."""

BESIDE = 400
"""Bytes of a file that say of one kernel that it lies on a grid: 250 to 280 in a Core ML package,
up to 320 in a .tflite and 360 in a TF.js model (measured with nets of 1 and 6 kernels of 16 to 4096
numbers). Of so few numbers float16 makes the smaller file."""

SMALL, WIDE = 4096, "int8"
"""Kernels of so many numbers are stored in this where fewer bits are asked for."""

NOTHING: Mapping[str, np.ndarray] = MappingProxyType({})
"""Was seen of any layer."""


def quantize_kernels(
    program: Program,
    choose: Choose,
    keep: Collection[str] = (),
    seen: Moments = NOTHING,
    met: Means = NOTHING,
    beside: int = 0,
) -> Program:
    """The program with the kernel of each convolution and linear layer on the grid chosen for it.

    The same object where there is none left. Left alone: the layers in `keep`, kernels that are
    zero everywhere, and those that float16 stores in fewer bytes, where a grid takes so many
    `beside` its codes and scales: of these a note is made. A kernel that layers share is
    rounded once. Where the moments of what a layer reads were `seen`, rounding is by GPTQ; where
    its means were `met`, the bias makes up for what the outputs are then off by on average.
    """
    module = copy.deepcopy(program.module)
    encodings = dict(program.encodings)
    chosen: dict[int, Encoding] = {}
    smaller: list[str] = []
    for path, layer in module.named_modules():
        name = f"{path}.weight" if path else "weight"
        if not isinstance(layer, LAYERS) or path in keep or name in program.encodings:
            continue
        # By identity: tied layers store one kernel, and its second rounding would be of other
        # numbers.
        if id(layer.weight) not in chosen:
            kernel = layer.weight.detach().numpy()
            if not kernel.any():
                continue
            grid = choose(name, kernel, 1 if isinstance(layer, TRANSPOSED) else 0)
            # A palette of 256 numbers takes 512 bytes: more than a small kernel does in float16.
            if grid.bytes(kernel.size) + beside > HALF * kernel.size:
                smaller.append(path)
                continue
            numbers = round_kernel(kernel, grid, seen.get(name))
            # Not into a bias that is encoded already: its numbers would leave their grid.
            bias = name.removesuffix("weight") + "bias"
            if name in met and layer.bias is not None and bias not in encodings:
                layer.bias += torch.from_numpy(average_loss(kernel, numbers, met[name]))
            layer.weight.copy_(torch.from_numpy(numbers))
            chosen[id(layer.weight)] = grid
        encodings[name] = chosen[id(layer.weight)]
    notes = program.notes
    if beside and smaller:
        kernels = f"{len(smaller)} of {len(smaller) + len(chosen)} kernels"
        note = f"{kernels} are left to float16, in which a file of them is smaller"
        notes = tuple(dict.fromkeys((*notes, note)))
    if encodings != dict(program.encodings):
        return with_module(program, module, encodings=encodings, notes=notes)
    return program if notes == program.notes else replace(program, notes=notes)


def round_kernel(kernel: np.ndarray, grid: Encoding, seen: np.ndarray | None) -> np.ndarray:
    """The kernel's numbers on a grid: nearest, or by GPTQ for what the layer reads."""
    return grid.numbers(grid.codes(kernel if seen is None else round_by_gptq(kernel, grid, seen)))


def average_loss(kernel: np.ndarray, numbers: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """What each output channel loses on average, (W - W') E[x]: Nagel 2019, section 4.2.

    The channels are along axis 0; `mean` is (groups, columns) for the rest.
    """
    errors = (kernel.astype(np.float64) - numbers).reshape(len(mean), -1, mean.shape[1])
    return np.einsum("goc,gc->go", errors, mean).ravel().astype(np.float32)


def affine(dtype: str) -> Choose:
    """From a kernel's least to its largest number, with a code exactly at zero.

    Jacob 2018, equation 1.
    """

    def choose(name: str, kernel: np.ndarray, axis: int) -> Encoding:
        # Pruned numbers are exact zeros and have to stay so, or the file would not compress.
        low, high = min(0.0, float(kernel.min())), max(0.0, float(kernel.max()))
        scale = (high - low) / Encoding(dtype).top
        return Encoding(dtype, (scale,), -round(-low / scale) * scale or 0.0)

    return choose


def wide_where_small(choose: Choose) -> Choose:
    """The grids chosen, but those of 8-bit integers for kernels of up to SMALL numbers.

    All of a net's together they are a few of its bytes, and an error in one of few numbers is one
    for which few others can make up: depthwise kernels, first and last layers.
    """

    def chosen(name: str, kernel: np.ndarray, axis: int) -> Encoding:
        grid = choose(name, kernel, axis)
        is_small = kernel.size <= SMALL and grid.bits < BITS[WIDE]
        return symmetric(WIDE)(name, kernel, axis) if is_small else grid

    return chosen


SHRUNK = (1.0, 0.97, 0.93, 0.88, 0.82, 0.75, 0.67, 0.58)
"""Shares of the largest number at which a scale may clip; the one with the least error is taken."""

FINEST = 2.0**-24
"""The smallest float16 above zero, for channels that are zero."""


def symmetric(dtype: str, block: int = 0) -> Choose:
    """A float16 scale for each output channel, or for each block of input channels in it.

    It is the one of a few whose rounding has the least squared error. A kernel whose input
    channels are no multiple of the block has one scale a channel.
    """

    def choose(name: str, kernel: np.ndarray, axis: int) -> Encoding:
        size = block if block and kernel.ndim > 1 and kernel.shape[1 - axis] % block == 0 else 0
        scales = _scales(_rows(kernel, axis, size), Encoding(dtype).top)
        return Encoding(dtype, tuple(scales.tolist()), axis=axis, block=size)

    return choose


def _rows(kernel: np.ndarray, axis: int, block: int) -> np.ndarray:
    """What shares a scale, a row each: (channels, the rest) or (channels * blocks, the rest)."""
    first = np.moveaxis(kernel, axis, 0)
    if not block:
        return first.reshape(len(first), -1)
    return first.reshape(len(first) * (first.shape[1] // block), -1)


def _scales(rows: np.ndarray, top: int) -> np.ndarray:
    """The float16 scale of each row that loses least, as float32."""
    wide = rows.astype(np.float64)
    largest = np.abs(wide).max(axis=1)
    # A scale that clips the largest number loses there and gains at all others; which share is
    # best depends on the tails of the row, so a few are tried.
    tried = np.stack([_half(np.maximum(largest * share / top, FINEST)) for share in SHRUNK])
    errors = [
        ((np.rint(wide / s[:, None]).clip(-top, top) * s[:, None] - wide) ** 2).sum(axis=1)
        for s in tried
    ]
    return tried[np.argmin(errors, axis=0), np.arange(len(rows))].astype(np.float32)


def _half(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(np.float16).astype(np.float64)
