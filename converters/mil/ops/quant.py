"""Quantisation of activations."""

from __future__ import annotations

import torch
from torch import Tensor

from converters.mil.ops.signature import Op
from model_defs.errors import UnsupportedOperation

RANGES = {"int8": (torch.int8, -128, 127), "uint8": (torch.uint8, 0, 255)}


def _along(vector: Tensor, x: Tensor, axis: int | None) -> Tensor:
    """A scalar as it is, a vector shaped to broadcast along `axis`."""
    if vector.numel() == 1:
        return vector.reshape(())
    if axis is None:
        raise UnsupportedOperation("a scale per channel without an axis")
    shape = [1] * x.dim()
    shape[axis] = -1
    return vector.reshape(shape)


def quantize(
    input: Tensor,
    scale: Tensor,
    output_dtype: str,
    zero_point: Tensor | None = None,
    axis: int | None = None,
) -> Tensor:
    """clip(round(input / scale) + zero_point), halves to even."""
    if output_dtype not in RANGES:
        raise UnsupportedOperation(f"quantize to '{output_dtype}'")
    dtype, low, high = RANGES[output_dtype]
    steps = torch.round(input / _along(scale, input, axis))
    if zero_point is not None:
        steps = steps + _along(zero_point, input, axis).float()
    return steps.clamp(low, high).to(dtype)


def dequantize(
    input: Tensor, scale: Tensor, zero_point: Tensor | None = None, axis: int | None = None
) -> Tensor:
    """scale * (input - zero_point)."""
    steps = input.float()
    if zero_point is not None:
        steps = steps - _along(zero_point, input, axis).float()
    return steps * _along(scale, input, axis)


OPS: dict[str, Op] = {
    "dequantize": Op(dequantize, gives=("scale",)),
    "quantize": Op(quantize, gives=("=output_dtype",)),
}
