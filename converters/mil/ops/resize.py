"""Resizing: which source positions each output reads, and how they are mixed.

Positions follow the formulas in coremltools' documentation of `resize_bilinear` and
`upsample_bilinear`, axis by axis. Whether Core ML itself keeps to them was not seen here.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from converters.mil.ops.signature import Ints, Op, integral
from model_defs.errors import BadArtifact, UnsupportedOperation


def grid(size: int, out: int, mode: str) -> Tensor:
    """Source positions of `out` samples over an axis of `size`, in float64."""
    # The documented spacings have an `out - 1` that cancels: (size - size / out) / (out - 1) is
    # size / out, which holds for a single result, too.
    i = torch.arange(out, dtype=torch.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if out == 1:
            i = i + ((size - 1) / 2 if mode == "ALIGN_CORNERS" else 0)
        else:
            i = i * ((size - 1) / (out - 1))
    elif mode == "DEFAULT":
        i = i * (size / out)
    elif mode == "OFFSET_CORNERS":
        i = (i + 0.5) * (max(1, size - 1) / out)
    elif mode == "UNALIGN_CORNERS":
        i = (i + 0.5) * (size / out) - 0.5
    else:
        raise UnsupportedOperation(f"sampling mode '{mode}'")
    return i.clamp(0, size - 1)


def linear(x: Tensor, axis: int, positions: Tensor) -> Tensor:
    """Mixes the two neighbours of each position along an axis."""
    axis %= x.dim()
    low = positions.floor().long().clamp(max=x.shape[axis] - 1)
    high = (low + 1).clamp(max=x.shape[axis] - 1)
    weight = (positions - low).to(x.dtype).reshape(-1, *([1] * (x.dim() - 1 - axis)))
    below = x.index_select(axis, low.to(x.device))
    above = x.index_select(axis, high.to(x.device))
    return torch.lerp(below, above, weight.to(x.device))


def nearest(x: Tensor, axis: int, out: int) -> Tensor:
    """Output i reads input floor(i * size / out), in whole numbers."""
    positions = torch.arange(out) * x.shape[axis] // out
    return x.index_select(axis, positions.to(x.device))


def _scaled(size: int, factor: float) -> int:
    out = math.floor(factor * size)
    if out < 1:
        raise BadArtifact(f"a factor of {factor} leaves nothing of {size}")
    return out


def upsample_nearest_neighbor(
    x: Tensor, scale_factor_height: float = 1, scale_factor_width: float = 1
) -> Tensor:
    height = _scaled(x.shape[-2], scale_factor_height)
    width = _scaled(x.shape[-1], scale_factor_width)
    if x.dim() == 4 and height % x.shape[-2] == width % x.shape[-1] == 0:
        return F.interpolate(x, (height, width))
    return nearest(nearest(x, -2, height), -1, width)


def resize_nearest_neighbor(x: Tensor, target_size_height: int, target_size_width: int) -> Tensor:
    return nearest(nearest(x, -2, target_size_height), -1, target_size_width)


def upsample_bilinear(
    x: Tensor,
    scale_factor_height: float = 1,
    scale_factor_width: float = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Tensor:
    """PyTorch's bilinear interpolation with recompute_scale_factor=True."""
    if half_pixel_centers is None:
        half_pixel_centers = not align_corners
    height = _scaled(x.shape[-2], scale_factor_height)
    width = _scaled(x.shape[-1], scale_factor_width)
    if align_corners and half_pixel_centers:
        raise UnsupportedOperation("upsample_bilinear with aligned corners and pixel centres")
    # Neither of the two: pixel i at i * size / out, which torch does not sample.
    if align_corners == half_pixel_centers:
        return _bilinear(x, height, width, "DEFAULT")
    # torch wants four axes, MIL takes any number before the last two.
    planes = x.reshape(1, -1, *x.shape[-2:])
    y = F.interpolate(planes, (height, width), mode="bilinear", align_corners=align_corners)
    return y.reshape(*x.shape[:-2], height, width)


def _bilinear(x: Tensor, height: int, width: int, mode: str) -> Tensor:
    rows = linear(x, -2, grid(x.shape[-2], height, mode))
    return linear(rows, -1, grid(x.shape[-1], width, mode))


def resize_bilinear(
    x: Tensor,
    target_size_height: int = 1,
    target_size_width: int = 1,
    sampling_mode: str = "DEFAULT",
) -> Tensor:
    return _bilinear(x, target_size_height, target_size_width, sampling_mode)


def resize(
    x: Tensor,
    shape: Ints,
    resized_dims: int,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Tensor:
    """The last `resized_dims` axes take the last sizes of `shape`, where 0 keeps the size."""
    if resized_dims > len(shape):
        raise BadArtifact(f"resizes {resized_dims} axes to {len(shape)} sizes")
    y = x.float() if integral(x) else x
    for axis in range(-resized_dims, 0):
        out = shape[axis] or x.shape[axis]
        if interpolation_mode == "LINEAR":
            y = linear(y, axis, grid(x.shape[axis], out, sampling_mode))
        elif interpolation_mode == "NEAREST_NEIGHBOR":
            y = _resize_nearest(y, axis, out, sampling_mode)
        else:
            raise UnsupportedOperation(f"resize of mode '{interpolation_mode}'")
    return y.to(x.dtype)


def _resize_nearest(x: Tensor, axis: int, out: int, mode: str) -> Tensor:
    """Only DEFAULT is emitted by coremltools; how others would round is not documented."""
    if mode != "DEFAULT":
        raise UnsupportedOperation(f"nearest-neighbour resize with sampling mode '{mode}'")
    return nearest(x, axis, out)


OPS: dict[str, Op] = {
    "resize": Op(resize),
    "resize_bilinear": Op(resize_bilinear),
    "resize_nearest_neighbor": Op(resize_nearest_neighbor, moves=True),
    "upsample_bilinear": Op(upsample_bilinear),
    "upsample_nearest_neighbor": Op(upsample_nearest_neighbor, moves=True),
}
