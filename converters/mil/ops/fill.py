"""Values made from shapes and numbers, and masks of matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from converters.mil.ops.signature import Ints, Op
from model_defs.errors import BadArtifact


def fill(shape: Ints, value: Tensor | None = None) -> Tensor:
    return torch.zeros(()).expand(shape) if value is None else value.reshape(()).expand(shape)


def fill_like(ref_tensor: Tensor, value: Tensor | None = None) -> Tensor:
    return fill(tuple(ref_tensor.shape), value).to(ref_tensor.device)


def range_1d(end: Tensor, start: Tensor, step: Tensor) -> Tensor:
    if step.item() == 0:
        raise BadArtifact("a range with step 0")
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


def one_hot(
    indices: Tensor,
    one_hot_vector_size: int,
    axis: int = -1,
    on_value: Tensor | None = None,
    off_value: Tensor | None = None,
) -> Tensor:
    """Negative indices count from the end."""
    on = torch.tensor(1, dtype=torch.int32) if on_value is None else on_value
    off = torch.zeros((), dtype=on.dtype) if off_value is None else off_value
    positions = torch.where(indices < 0, indices + one_hot_vector_size, indices)
    classes = torch.arange(one_hot_vector_size, device=indices.device)
    hot = positions.unsqueeze(-1) == classes
    return torch.where(hot, on.to(hot.device), off.to(hot.device)).movedim(-1, axis)


def band_part(x: Tensor, lower: int = -1, upper: int = -1) -> Tensor:
    """A negative bound keeps its whole triangle."""
    if lower >= 0:
        x = torch.triu(x, -lower)
    return torch.tril(x, upper) if upper >= 0 else x


OPS: dict[str, Op] = {
    "band_part": Op(band_part, moves=True),
    "fill": Op(fill, gives=("value",), moves=True),
    "fill_like": Op(fill_like, gives=("value",), moves=True),
    "one_hot": Op(one_hot, gives=("on_value",), moves=True),
    "range_1d": Op(range_1d, gives=("start",), reads_data=True),
}
