"""What moves numbers and changes none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from converters.graph.writing.emit import Emission, numpy_type, pair, shape_of

END = 2**63 - 1


def reshape(e: Emission) -> str:
    return e.reshape(e.input(), tuple(e.result.shape))


def permute(e: Emission) -> str:
    rank = e.result.ndim
    return _transposed(e, [axis % rank for axis in e.arg(1, "dims")])


def _transposed(e: Emission, order: Sequence[int]) -> str:
    if list(order) == sorted(order):
        return e.input()
    return e.emit("Transpose", e.input(), perm=list(order))


def transpose(e: Emission) -> str:
    rank = e.result.ndim
    order = list(range(rank))
    if rank:
        a, b = e.arg(1, "dim0") % rank, e.arg(2, "dim1") % rank
        order[a], order[b] = order[b], order[a]
    return _transposed(e, order)


def reversed_axes(e: Emission) -> str:
    return _transposed(e, list(range(e.result.ndim))[::-1])


def matrix_transpose(e: Emission) -> str:
    order = list(range(e.result.ndim))
    order[-2:] = order[:-3:-1]
    return _transposed(e, order)


def move_axes(e: Emission) -> str:
    rank = e.result.ndim
    source = [a % rank for a in pair(e.arg(1), 1)]
    target = [a % rank for a in pair(e.arg(2), 1)]
    order = [axis for axis in range(rank) if axis not in source]
    for place, axis in sorted(zip(target, source, strict=True)):
        order.insert(place, axis)
    return _transposed(e, order)


def expand(e: Emission) -> str:
    return e.emit("Expand", e.input(), e.ints(*e.result.shape))


def repeat(e: Emission) -> str:
    x, times = e.input(), list(e.arg(1, "repeats"))
    rank = e.tensor().ndim
    if len(times) > rank:
        x = e.reshape(x, (*(1,) * (len(times) - rank), *e.tensor().shape))
    times = [1] * (rank - len(times)) + times
    return x if set(times) == {1} else e.emit("Tile", x, e.ints(*times))


def concatenate(e: Emission) -> str:
    """Empty parts are left out, as PyTorch does."""
    kind = e.result.dtype
    parts = [part for part in e.arg(0) if shape_of(part).numel()]
    names = [e.name(part, kind) for part in parts]
    axis = e.arg(1, "dim", 0) % e.result.ndim
    return names[0] if len(names) == 1 else e.emit("Concat", *names, axis=axis)


def stack(e: Emission) -> str:
    kind, axis = e.result.dtype, e.arg(1, "dim", 0) % e.result.ndim
    shape = list(e.result.shape)
    shape[axis] = 1
    parts = [e.reshape(e.name(part, kind), shape) for part in e.arg(0)]
    return parts[0] if len(parts) == 1 else e.emit("Concat", *parts, axis=axis)


def _parts(e: Emission, sizes: Sequence[int], axis: int) -> tuple[str, ...]:
    if len(sizes) == 1:
        return (e.input(),)
    given = (e.input(), e.ints(*sizes))
    return e.emit_all("Split", given, len(sizes), axis=axis)


def split(e: Emission) -> tuple[str, ...]:
    axis = e.arg(2, "dim", 0) % e.tensor().ndim
    sizes = [part.shape[axis] for part in e.node.meta["val"]]
    return _parts(e, sizes, axis)


def unbind(e: Emission) -> tuple[str, ...]:
    axis = e.arg(1, "dim", 0) % e.tensor().ndim
    shape = list(e.tensor().shape)
    parts = _parts(e, [1] * shape[axis], axis)
    return tuple(e.reshape(part, shape[:axis] + shape[axis + 1 :]) for part in parts)


def get_item(e: Emission) -> Any:
    """One of what an operation with several results gives."""
    found = e.sheet.values[e.arg(0)][e.arg(1)]
    if found is None and e.node.users:
        raise e.refuse(
            "the places of what is found are not computed here",
            "take the values alone, without return_indices, or use argmax",
        )
    return found


def sliced(e: Emission, x: str, axis: int, start: int, end: int, step: int = 1) -> str:
    return e.emit("Slice", x, e.ints(start), e.ints(end), e.ints(axis), e.ints(step))


def slice_(e: Emission) -> str:
    axis = e.arg(1, "dim", 0) % e.tensor().ndim
    size = e.tensor().shape[axis]
    start, end, step = slice(e.arg(2, "start"), e.arg(3, "end"), e.arg(4, "step", 1)).indices(size)
    if (start, end, step) == (0, size, 1):
        return e.input()
    return sliced(e, e.input(), axis, start, end, step)


def narrow(e: Emission) -> str:
    axis, start, length = e.arg(1) % e.tensor().ndim, e.arg(2), e.arg(3)
    start %= max(e.tensor().shape[axis], 1)
    if length == e.tensor().shape[axis]:
        return e.input()
    return sliced(e, e.input(), axis, start, start + length)


def select(e: Emission) -> str:
    axis = e.arg(1, "dim") % e.tensor().ndim
    index = e.arg(2, "index") % e.tensor().shape[axis]
    return e.emit("Gather", e.input(), e.constant(np.asarray(index, np.int64)), axis=axis)


def index_select(e: Emission) -> str:
    axis = e.arg(1, "dim") % e.tensor().ndim
    return e.emit("Gather", e.input(), e.input(2), axis=axis)


def embedding(e: Emission) -> str:
    return e.emit("Gather", e.input(0), e.input(1), axis=0)


def gather(e: Emission) -> str:
    axis = e.arg(1, "dim") % e.tensor().ndim
    return e.emit("GatherElements", e.input(), e.input(2), axis=axis)


def flip(e: Emission) -> str:
    axes = [axis % e.result.ndim for axis in e.arg(1, "dims")]
    if not axes:
        return e.input()
    begin, end, step = e.ints(*[-1] * len(axes)), e.ints(*[-END] * len(axes)), [-1] * len(axes)
    return e.emit("Slice", e.input(), begin, end, e.ints(*axes), e.ints(*step))


def _pads(flat: Sequence[int], rank: int) -> list[int]:
    """PyTorch's pads, from the last axis, as ONNX's: all begins, all ends."""
    before, after = [0] * rank, [0] * rank
    for place in range(len(flat) // 2):
        axis = rank - 1 - place
        before[axis], after[axis] = flat[2 * place], flat[2 * place + 1]
    return before + after


def _padded(e: Emission, mode: str, value: Any = None) -> str:
    flat = list(e.arg(1, "pad"))
    if not any(flat):
        return e.input()
    pads = e.ints(*_pads(flat, e.tensor().ndim))
    fill = (e.name(value, e.result.dtype),) if mode == "constant" else ()
    return e.emit("Pad", e.input(), pads, *fill, mode=mode)


def pad(e: Emission) -> str:
    mode = e.arg(2, "mode", "constant")
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    return _padded(e, modes[mode], e.arg(3, "value") or 0)


def constant_pad(e: Emission) -> str:
    return _padded(e, "constant", e.arg(2, "value", 0))


def reflection_pad(e: Emission) -> str:
    return _padded(e, "reflect")


def replication_pad(e: Emission) -> str:
    return _padded(e, "edge")


def pixel_shuffle(e: Emission) -> str:
    return e.emit("DepthToSpace", e.input(), blocksize=e.arg(1), mode="CRD")


def pixel_unshuffle(e: Emission) -> str:
    factor = e.arg(1)
    n, c, h, w = e.tensor().shape
    x = e.reshape(e.input(), (n, c, h // factor, factor, w // factor, factor))
    x = e.emit("Transpose", x, perm=[0, 1, 3, 5, 2, 4])
    return e.reshape(x, tuple(e.result.shape))


def channel_shuffle(e: Emission) -> str:
    groups = e.arg(1)
    n, c, *rest = e.tensor().shape
    x = e.reshape(e.input(), (n, groups, c // groups, *rest))
    x = e.emit("Transpose", x, perm=[0, 2, 1, *range(3, 3 + len(rest))])
    return e.reshape(x, tuple(e.result.shape))


def filled(value: Any) -> Any:
    """A tensor of one number: an expanded scalar, which takes no room in the file."""

    def write(e: Emission) -> str:
        number = value(e) if callable(value) else value
        scalar = np.asarray(number).astype(numpy_type(e.result.dtype))
        name = e.constant(scalar.reshape((1,) * e.result.ndim))
        return name if e.result.numel() == 1 else e.emit("Expand", name, e.ints(*e.result.shape))

    return write


def triangle(upper: int) -> Any:
    def write(e: Emission) -> str:
        diagonal = e.constant(np.asarray(e.arg(1, "diagonal", 0), np.int64))
        return e.emit("Trilu", e.input(), diagonal, upper=upper)

    return write


def one_hot(e: Emission) -> str:
    depth = e.constant(np.asarray(e.result.shape[-1], np.int64))
    values = e.constant(np.array([0, 1], numpy_type(e.result.dtype)))
    return e.emit("OneHot", e.input(0, torch.int64), depth, values, axis=-1)


def scatter(e: Emission) -> str:
    """`src` or one number at places along an axis."""
    axis, source = e.arg(1) % e.result.ndim, e.arg(3)
    if hasattr(source, "meta"):
        updates = e.name(source, e.result.dtype)
        if shape_of(source).shape != e.tensor(2).shape:
            raise e.refuse("a source that is larger than the indices", "cut the source first")
    else:
        scalar = e.constant(np.full((1,) * e.result.ndim, source, numpy_type(e.result.dtype)))
        updates = e.emit("Expand", scalar, e.ints(*e.tensor(2).shape))
    added = "scatter_add" in str(e.node.target)
    kind = "add" if added or e.node.kwargs.get("reduce") == "add" else None
    return e.emit("ScatterElements", e.input(), e.input(2), updates, axis=axis, reduction=kind)
