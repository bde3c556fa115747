"""Operations whose places are numbers: gathering, scattering, sampling."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from converters.files.onnx.call import Layer, NodeCall


def _forward(index: Tensor, size: int) -> Tensor:
    """Places counted from the front, with those below 0 from the back."""
    return torch.where(index < 0, index + size, index)


def _placed(call: NodeCall, index: int, size: int) -> Tensor:
    """Constant places, all of which are there."""
    found = _forward(call.constant(index, "indices"), size).long()
    if found.numel() and not 0 <= int(found.min()) <= int(found.max()) < size:
        raise call.refuse(f"indices beyond {size}")
    return found


def gather(call: NodeCall) -> Layer:
    dim = call.axis(call.read(axis=0).axis)
    if 1 not in call.constants:
        return call.apply(_gather, 0, 1, dim=dim)
    places = _placed(call, 1, call.shape()[dim])
    if places.ndim == 0:
        return call.apply(torch.select, 0, dim=dim, index=int(places))
    return call.apply(_gather_at, 0, places=places, dim=dim)


def _gather_at(value: Tensor, places: Tensor, dim: int) -> Tensor:
    found = value.index_select(dim, places.reshape(-1))
    if places.ndim == 1:
        return found
    return found.reshape(*value.shape[:dim], *places.shape, *value.shape[dim + 1 :])


def _gather(value: Tensor, places: Tensor, dim: int) -> Tensor:
    return _gather_at(value, _forward(places, value.shape[dim]).long(), dim)


def gather_elements(call: NodeCall) -> Layer:
    dim = call.axis(call.read(axis=0).axis)
    return call.apply(_gather_elements, 0, 1, dim=dim)


def _gather_elements(value: Tensor, places: Tensor, dim: int) -> Tensor:
    return value.gather(dim, _forward(places, value.shape[dim]).long())


def gather_nd(call: NodeCall) -> Layer:
    read = call.read(batch_dims=0)
    return call.apply(_gather_nd, 0, 1, batch=read.batch_dims)


def _gather_nd(value: Tensor, places: Tensor, batch: int) -> Tensor:
    depth = places.shape[-1]
    outer = torch.Size(places.shape[:batch]).numel()
    flat = value.reshape(outer, *value.shape[batch:])
    chosen = places.reshape(outer, -1, depth)
    index = [torch.arange(outer).reshape(-1, 1)]
    index += [_forward(chosen[..., axis], flat.shape[axis + 1]).long() for axis in range(depth)]
    return flat[tuple(index)].reshape(*places.shape[:-1], *value.shape[batch + depth :])


COMBINED = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def scatter_elements(call: NodeCall) -> Layer:
    read = call.read(axis=0, reduction="none")
    return call.apply(
        _scatter_elements, 0, 1, 2, dim=call.axis(read.axis), how=COMBINED.get(read.reduction)
    )


def _scatter_elements(
    value: Tensor, places: Tensor, updates: Tensor, dim: int, how: str | None
) -> Tensor:
    places = _forward(places, value.shape[dim]).long()
    if how is None:
        return value.scatter(dim, places, updates)
    return value.scatter_reduce(dim, places, updates, how)


def scatter_nd(call: NodeCall) -> Layer:
    read = call.read(reduction="none")
    how = read.reduction
    if how in ("max", "min", "mul"):
        return call.apply(_scatter_nd_flat, 0, 1, 2, how=COMBINED[how])
    return call.apply(_scatter_nd, 0, 1, 2, adds=how == "add")


def _scatter_nd(value: Tensor, places: Tensor, updates: Tensor, adds: bool) -> Tensor:
    index = tuple(
        _forward(places[..., axis], value.shape[axis]).long() for axis in range(places.shape[-1])
    )
    return value.index_put(index, updates, accumulate=adds)


def _scatter_nd_flat(value: Tensor, places: Tensor, updates: Tensor, how: str) -> Tensor:
    """As rows of what the places do not name."""
    depth = places.shape[-1]
    rows = torch.zeros(places.shape[:-1], dtype=torch.long)
    for axis in range(depth):
        size = value.shape[axis]
        rows = rows * size + _forward(places[..., axis], size).long()
    flat = value.reshape(torch.Size(value.shape[:depth]).numel(), -1)
    index = rows.reshape(-1, 1).expand(-1, flat.shape[1])
    found = flat.scatter_reduce(0, index, updates.reshape(index.shape), how)
    return found.reshape(value.shape)


def one_hot(call: NodeCall) -> Layer:
    read = call.read(axis=-1)
    depth = int(call.number(1, "depth"))
    off, on = call.constant(2, "values").reshape(-1).tolist()
    dim = call.axis(read.axis, call.rank() + 1)
    call.sized([*call.shape(), depth])
    return call.apply(_one_hot, 0, depth=depth, off=off, on=on, dim=dim, kind=call.value(2).dtype)


def _one_hot(
    index: Tensor, depth: int, off: float, on: float, dim: int, kind: torch.dtype
) -> Tensor:
    index = torch.where(index < 0, index + depth, index)
    places = torch.arange(depth, dtype=index.dtype)
    places = places.reshape(-1, *(1,) * (index.ndim - dim))
    hit = index.unsqueeze(dim) == places
    return torch.where(hit, torch.tensor(on, dtype=kind), torch.tensor(off, dtype=kind))


def compress(call: NodeCall) -> Layer:
    read = call.read(axis=None)
    chosen = call.constant(1, "condition").reshape(-1).nonzero().reshape(-1)
    if read.axis is None:
        return call.apply(_compress, 0, places=chosen)
    return call.apply(_gather_at, 0, places=chosen, dim=call.axis(read.axis))


def _compress(value: Tensor, places: Tensor) -> Tensor:
    return value.reshape(-1).index_select(0, places)


def non_zero(call: NodeCall) -> Layer:
    call.constant(0, "value")
    return call.apply(_non_zero, 0)


def _non_zero(value: Tensor) -> Tensor:
    return value.nonzero().t()


SAMPLING = {"linear": "bilinear", "cubic": "bicubic"}


def grid_sample(call: NodeCall) -> Layer:
    read = call.read(align_corners=0, mode="linear", padding_mode="zeros")
    return call.apply(
        F.grid_sample,
        0,
        1,
        mode=SAMPLING.get(read.mode, read.mode),
        padding_mode=read.padding_mode,
        align_corners=bool(read.align_corners),
    )


def affine_grid(call: NodeCall) -> Layer:
    read = call.read(align_corners=0)
    size = call.sized(call.integers(1, "size"))
    return call.apply(F.affine_grid, 0, size=size, align_corners=bool(read.align_corners))


def column_to_image(call: NodeCall) -> Layer:
    read = call.read(dilations=None, pads=None, strides=None)
    size, block = call.integers(1, "size"), call.integers(2, "block")
    if len(size) != 2:
        raise call.refuse(f"{len(size)} spatial dimensions")
    pads = tuple(read.pads or (0,) * 4)
    if pads[:2] != pads[2:]:
        raise call.refuse(f"pads {pads}, which differ before and after")
    settings: dict[str, Any] = {
        "dilation": tuple(read.dilations or (1, 1)),
        "padding": pads[:2],
        "stride": tuple(read.strides or (1, 1)),
    }
    return call.apply(F.fold, 0, output_size=size, kernel_size=block, **settings)
