"""What is read from, and written at, places: as gathers, scatters and cuts that converters hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx


def index(x: Tensor, indices: Any) -> Tensor:
    """x[:, i, j]: tensors of places along axes that follow one another, as one axis.

    Of others PyTorch puts what is taken first: these axes are brought to the front.
    """
    if (axes := _apart(indices)) is not None:
        return index(x.permute(_fronted(x, axes)), [indices[axis] for axis in axes])
    first, count, places = _places(x, indices)
    shape = x.shape
    flat = x.reshape(*shape[:first], -1, *shape[first + count :])
    taken = flat.index_select(first, places.reshape(-1))
    return taken.reshape(*shape[:first], *places.shape, *shape[first + count :])


def _places(x: Tensor, indices: Any) -> tuple[int, int, Tensor]:
    """The first axis, how many, and the places on them as on one axis."""
    axes = [axis for axis, one in enumerate(indices) if one is not None]
    first, count = axes[0], len(axes)
    sizes = [x.shape[axis] for axis in axes]
    places: Any = 0
    for size, axis in zip(sizes, axes, strict=True):
        one = torch.as_tensor(_numbered(indices[axis])).to(torch.int64)
        if one.numel():
            one = torch.where(one < 0, one + size, one)
        places = places * size + one
    return first, count, places


def _numbered(places: Any) -> Any:
    """Of a mask that is a constant, the places where it holds."""
    if isinstance(places, np.ndarray) and places.dtype == bool:
        return np.flatnonzero(places)
    return places


def index_put(x: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """Where a mask holds, or at places; what constants of these need is computed here."""
    if (axes := _apart(indices)) is not None:
        first = _fronted(x, axes)
        put = index_put(x.permute(first), [indices[axis] for axis in axes], values, accumulate)
        return put.permute([first.index(axis) for axis in range(x.ndim)])
    x, values = torch.as_tensor(x), torch.as_tensor(values)
    if accumulate or any(isinstance(one, Tensor) and one.dtype != torch.bool for one in indices):
        return _put_at_places(x, indices, values, accumulate)
    mask = indices[0]
    if isinstance(mask, np.ndarray) and mask.ndim > 1:
        mask = torch.from_numpy(mask)
    if len(indices) == 1 and isinstance(mask, Tensor) and mask.dtype is torch.bool:
        return torch.where(mask.reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim)), values, x)
    axes = [axis for axis, one in enumerate(indices) if one is not None]
    begin, count = axes[0], len(axes)
    arrays = np.broadcast_arrays(*(_numbered(indices[axis]) for axis in axes))
    sizes = [x.shape[axis] for axis in axes]
    flat = np.ravel_multi_index([a % n for a, n in zip(arrays, sizes, strict=True)], sizes)
    shape = x.shape
    rest = shape[begin + count :]
    values = values.expand(*shape[:begin], *arrays[0].shape, *rest)
    values = values.reshape(*shape[:begin], -1, *rest)
    size = math.prod(sizes)
    whole = torch.cat([x.reshape(*shape[:begin], size, *rest), values], begin)
    order = np.arange(size)
    order[flat.reshape(-1)] = size + np.arange(flat.size)
    return whole.index_select(begin, torch.from_numpy(order)).reshape(shape)


def _put_at_places(x: Tensor, indices: Any, values: Tensor, accumulate: bool) -> Tensor:
    """x[:, i, j] = values, or += values: the axes of the places as one axis."""
    if x.dtype is torch.bool:
        return _put_at_places(x.to(torch.int32), indices, values.to(torch.int32), accumulate) != 0
    first, count, places = _places(x, indices)
    lead, rest = x.shape[:first], x.shape[first + count :]
    values = values.expand(*lead, *places.shape, *rest).reshape(*lead, -1, *rest)
    where = places.reshape(*(1,) * first, -1, *(1,) * len(rest)).expand(values.shape)
    flat = x.reshape(*lead, -1, *rest)
    put = flat.scatter_add if accumulate else flat.scatter
    return put(first, where, values).reshape(x.shape)


def _apart(indices: Sequence[Any]) -> list[int] | None:
    """The axes that have places, where others lie between them."""
    axes = [axis for axis, one in enumerate(indices) if one is not None]
    return None if axes == list(range(axes[0], axes[0] + len(axes))) else axes


def _fronted(x: Tensor, axes: list[int]) -> list[int]:
    return [*axes, *(axis for axis in range(x.ndim) if axis not in axes)]


def index_fill(x: Tensor, dim: int, places: Any, value: Any) -> Tensor:
    value = torch.as_tensor(value, dtype=x.dtype)
    return index_put(x, [*[None] * (dim % x.ndim), places], value)


def index_copy(x: Tensor, dim: int, places: Any, source: Tensor) -> Tensor:
    return index_put(x, [*[None] * (dim % x.ndim), places], source)


def take(x: Tensor, places: Any) -> Tensor:
    return index(x.reshape(-1), [places])


def take_along(x: Tensor, places: Any, dim: Any = None) -> Tensor:
    """A gather whose other axes are broadcast; without an axis, of x as one row."""
    places = torch.as_tensor(places)
    if dim is None:
        return x.reshape(-1).gather(0, places.reshape(-1))
    wide = [*torch.broadcast_shapes(*(_with(one.shape, dim, 1) for one in (x, places)))]
    own, theirs = (_with(wide, dim, one.shape[dim]) for one in (x, places))
    return x.expand(own).gather(dim, places.expand(theirs))


def _with(shape: Sequence[int], axis: int, size: int) -> list[int]:
    found = list(shape)
    found[axis] = size
    return found


def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    x = x.permute(_to_the_end(x, dim1, dim2))
    return index(x, [*[None] * (x.ndim - 2), *_on_diagonal(x, offset)])


def diagonal_scatter(
    x: Tensor, source: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    order = _to_the_end(x, dim1, dim2)
    x = x.permute(order)
    put = index_put(x, [*[None] * (x.ndim - 2), *_on_diagonal(x, offset)], source)
    return put.permute([order.index(axis) for axis in range(x.ndim)])


def _to_the_end(x: Tensor, *dims: int) -> list[int]:
    last = [dim % x.ndim for dim in dims]
    return [*(axis for axis in range(x.ndim) if axis not in last), *last]


def _on_diagonal(x: Tensor, offset: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = x.shape[-2:]
    count = min(rows + min(offset, 0), columns - max(offset, 0))
    return np.arange(count) - min(offset, 0), np.arange(count) + max(offset, 0)


def gather_of_fewer(x: Tensor, dim: int, places: Any, **_: Any) -> Tensor:
    """Along the other axes, only as many as there are places."""
    places = torch.as_tensor(places)
    for axis, size in enumerate(places.shape):
        if axis != dim % x.ndim and size != x.shape[axis]:
            x = x.narrow(axis, 0, size)
    return x.gather(dim, places)


def index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """Rows are added at places, which are those of each of their numbers."""
    shape = [1] * source.ndim
    shape[dim % source.ndim] = source.shape[dim]
    added = source if alpha == 1 else source * alpha
    return x.scatter_add(dim, index.reshape(shape).expand(source.shape), added)


def is_plain_index(node: fx.Node) -> bool:
    """Places, or a mask that is a constant."""
    return all(map(_is_place, _indices(node)))


def is_mask_or_places(node: fx.Node) -> bool:
    """One mask, or places; nothing is added where a mask holds."""
    given = _indices(node)
    whole, adds = node.args[1], len(node.args) > 3 and node.args[3]
    if len(given) == 1 and len(whole) == 1 and given[0].meta["val"].dtype is torch.bool:  # type: ignore[arg-type]
        return not adds
    return all(map(_is_place, given))


def _indices(node: fx.Node) -> list[fx.Node]:
    indices: Any = node.args[1]
    return [one for one in indices if one is not None]


def _is_place(index: fx.Node) -> bool:
    value = index.meta["val"]
    if value.dtype is torch.bool:
        return bool(index.op == "get_attr" and value.ndim == 1)
    return True


def has_fewer_places(node: fx.Node) -> bool:
    x, dim, places = node.args[:3]
    have, want = x.meta["val"].shape, places.meta["val"].shape  # type: ignore[union-attr]
    axis = dim % max(len(have), 1)  # type: ignore[operator]
    return any(i != axis and w != h for i, (w, h) in enumerate(zip(want, have, strict=True)))
