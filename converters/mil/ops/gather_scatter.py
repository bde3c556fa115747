"""Reading and writing at indices. Negative indices count from the end; others must fit."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from converters.mil.ops.signature import Op
from model_defs.errors import BadArtifact, UnsupportedOperation


def _checked(indices: Tensor, size: int) -> Tensor:
    """Indices made non-negative; BadArtifact for one outside: Core ML leaves that undefined."""
    positions = torch.where(indices < 0, indices.long() + size, indices.long())
    # Shapes are foreseen with meta tensors, which have no numbers that could be outside.
    if not positions.is_meta and positions.numel():
        low, high = positions.aminmax()
        if low < 0 or high >= size:
            raise BadArtifact(f"an index is outside an axis of {size}")
    return positions


def gather(
    x: Tensor,
    indices: Tensor,
    axis: int = 0,
    batch_dims: int = 0,
    validate_indices: bool = False,
) -> Tensor:
    axis %= x.dim()
    positions = _checked(indices, x.shape[axis])
    if batch_dims == 0:
        taken = x.index_select(axis, positions.flatten())
        return taken.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    batch = x.shape[:batch_dims]
    # index_select has one list of indices for all: here each batch has its own.
    flat_x = x.flatten(0, batch_dims - 1)
    flat_i = positions.flatten(0, batch_dims - 1)
    inner = axis - batch_dims
    parts = [p.index_select(inner, i.flatten()) for p, i in zip(flat_x, flat_i, strict=True)]
    shape = (*batch, *x.shape[batch_dims:axis], *indices.shape[batch_dims:], *x.shape[axis + 1 :])
    return torch.stack(parts).reshape(shape)


def gather_along_axis(
    x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool = False
) -> Tensor:
    return torch.take_along_dim(x, _checked(indices, x.shape[axis]), axis)


def _flat_positions(indices: Tensor, sizes: torch.Size) -> Tensor:
    """Row-major positions of index tuples in the last axis of `indices`."""
    flat = torch.zeros(indices.shape[:-1], dtype=torch.long, device=indices.device)
    for i, size in enumerate(sizes):
        flat = flat * size + _checked(indices[..., i], size)
    return flat


def gather_nd(
    x: Tensor, indices: Tensor, batch_dims: int = 0, validate_indices: bool = False
) -> Tensor:
    """The last axis of `indices` holds an index tuple."""
    depth = indices.shape[-1]
    batch = x.shape[:batch_dims]
    count = math.prod(batch)
    inner = x.shape[batch_dims : batch_dims + depth]
    rest = x.shape[batch_dims + depth :]
    flat = _flat_positions(indices, inner).reshape(count, -1)
    # All batches lie in one list: each begins prod(inner) rows behind the one before.
    rows = flat + math.prod(inner) * torch.arange(count, device=x.device).unsqueeze(1)
    taken = x.reshape(count * math.prod(inner), *rest).index_select(0, rows.flatten())
    return taken.reshape(*batch, *indices.shape[batch_dims:-1], *rest)


REDUCTIONS = {
    "add": "sum",
    "sub": "sum",
    "mul": "prod",
    "div": "prod",
    "max": "amax",
    "min": "amin",
}


def _scattered(data: Tensor, axis: int, positions: Tensor, updates: Tensor, mode: str) -> Tensor:
    """`positions` and `updates` have `data`'s rank; the last of equal positions wins."""
    if mode == "update":
        return data.scatter(axis, positions, updates)
    if mode not in REDUCTIONS:
        raise UnsupportedOperation(f"scatter of mode '{mode}'")
    # torch's reductions have no difference and no quotient.
    if mode == "sub":
        updates = -updates
    if mode == "div":
        updates = 1 / updates
    return data.scatter_reduce(axis, positions, updates, REDUCTIONS[mode])


def scatter(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    axis %= data.dim()
    shape = [1] * data.dim()
    shape[axis] = -1
    positions = _checked(indices, data.shape[axis]).reshape(shape).expand(updates.shape)
    return _scattered(data, axis, positions, updates, mode)


def scatter_along_axis(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    return _scattered(data, axis, _checked(indices, data.shape[axis]), updates, mode)


def scatter_nd(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    """The last axis of `indices` holds an index tuple."""
    depth = indices.shape[-1]
    flat = _flat_positions(indices, data.shape[:depth]).flatten()
    width = math.prod(data.shape[depth:])
    rows = data.reshape(math.prod(data.shape[:depth]), width)
    new = updates.reshape(len(flat), width)
    positions = flat.unsqueeze(1).expand(new.shape)
    return _scattered(rows, 0, positions, new, mode).reshape(data.shape)


OPS: dict[str, Op] = {
    "gather": Op(gather, moves=True),
    "gather_along_axis": Op(gather_along_axis, moves=True),
    "gather_nd": Op(gather_nd, moves=True),
    "scatter": Op(scatter, gives=("data",)),
    "scatter_along_axis": Op(scatter_along_axis, gives=("data",)),
    "scatter_nd": Op(scatter_nd, gives=("data",)),
}
