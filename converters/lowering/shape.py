"""Operations that move elements and compute none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import numpy as np

from converters.lowering.call import Call, Target, nhwc
from converters.lowering.join import joined
from converters.lowering.places import wrapped
from converters.lowering.tf import Tensor, constant, gen_array_ops
from converters.lowering.value import MOST_AXES, Value, as_tensor, merged, reshaped
from converters.lowering.value import reshape as resized


def reshape(call: Call) -> Value:
    """Reshape, Flatten, Squeeze and Unsqueeze: ONNX's inferred shape says what becomes."""
    call.read(allowzero=0, axis=1, axes=None)
    return reshaped(call.value(), call.shape)


def identity(call: Call) -> Value:
    call.read()
    return call.value()


def dropout(call: Call) -> Value | tuple[Value, Value]:
    """Dropout in inference, which changes nothing: its mask is true everywhere."""
    a = call.read(ratio=0.5, seed=0)
    ratio = call.constant(1, "ratio").item() if call.has(1) else a.ratio
    if ratio and call.has(2) and call.constant(2, "training mode").item():
        raise call.refuse("training mode", do="call eval() before exporting")
    if len(call.results) == 1:
        return call.value()
    return call.value(), Value.of(np.ones(call.shape, np.bool_))


def shape(call: Call) -> Value:
    """Shape, which is known while converting."""
    a = call.read(start=0, end=None)
    return Value.of(np.array(call.value().shape[a.start : a.end], np.int64))


def transpose(call: Call) -> Value:
    """Transpose: nothing is emitted; the axes are only read in another order."""
    rank = call.value().rank
    a = call.read(perm=tuple(reversed(range(rank))))
    return call.value().transposed(tuple(a.perm))


def concat(call: Call) -> Value:
    """Concat, in the order of the first computed input."""
    a = call.read(axis=None)
    values = [call.value(i) for i in range(len(call.inputs))]
    if len(values) == 1:
        return values[0]
    order = next((v.order for v in values if not v.is_constant), values[0].order)
    tensors = [as_tensor(call.arrange(v, order)) for v in values]
    axis = order.index(a.axis % len(order))
    return Value(joined(call.target, tensors, axis), order)


def split(call: Call) -> tuple[Value, ...]:
    """Split into parts of the sizes that ONNX infers.

    XNNPACK splits evenly into two to four, and runs slices for what else there is. TF.js cuts
    natively what has up to four axes: of more, those beside the one that is split are merged.
    """
    a = call.read(axis=0, num_outputs=None, split=None)
    value = call.value()
    x, axis = as_tensor(value), value.axis(a.axis)
    sizes = [shape[a.axis] for shape in call.results]
    if call.target == "tfjs" and value.rank > NATIVE_AXES:
        before, after = value.stored_shape[:axis], value.stored_shape[axis + 1 :]
        parts = _parts(call.target, resized(x, (prod(before), sum(sizes), prod(after))), 1, sizes)
        parts = [resized(part, (*before, int(part.shape[1]), *after)) for part in parts]
    else:
        parts = _parts(call.target, x, axis, sizes)
    return tuple(Value(part, value.order) for part in parts)


XNNPACK_PARTS = 4
NATIVE_AXES = 4


def _parts(target: Target, x: Tensor, axis: int, sizes: Sequence[int]) -> list[Tensor]:
    even = len(set(sizes)) == 1
    if target == "tflite" and not (even and 2 <= len(sizes) <= XNNPACK_PARTS):
        return _slices(x, axis, sizes)
    if even:
        return list(gen_array_ops.split(axis=axis, value=x, num_split=len(sizes)))
    return list(gen_array_ops.split_v(x, np.array(sizes, np.int32), axis, len(sizes)))


def _slices(x: Tensor, axis: int, sizes: Sequence[int]) -> list[Tensor]:
    """Parts of these sizes along an axis, one Slice each."""
    begin, size = [0] * len(x.shape), [int(n) for n in x.shape]
    parts = []
    for size[axis] in sizes:
        parts.append(gen_array_ops._slice(x, np.array(begin, np.int32), np.array(size, np.int32)))
        begin[axis] += size[axis]
    return parts


def slice_(call: Call) -> Value:
    """Slice with constant bounds; the steps may be negative."""
    call.read()
    value = call.value()
    starts, ends = call.integers(1, "start"), call.integers(2, "end")
    axes = call.integers(3, "axes") if call.has(3) else tuple(range(len(starts)))
    steps = call.integers(4, "steps") if call.has(4) else (1,) * len(starts)
    rank = value.rank
    begin, end, stride = [0] * rank, list(value.stored_shape), [1] * rank
    end_mask = 0
    for axis, start, stop, step in zip(axes, starts, ends, steps, strict=True):
        place = value.axis(axis)
        first, last, _ = slice(start, stop, step).indices(value.shape[axis])
        begin[place], end[place], stride[place] = first, last, step
        # Backwards through the first element is -1 to Python, which is the last one to a
        # StridedSlice: only an open end says it.
        end_mask |= (1 << place) if last < 0 else 0
    x = _strided(as_tensor(value), begin, end, stride, end_mask)
    return Value(x, value.order)


def _strided(x: Tensor, begin: list[int], end: list[int], stride: list[int], mask: int) -> Tensor:
    """A StridedSlice; of many axes, those that stay whole are merged with their neighbours."""
    if len(begin) <= MOST_AXES:
        return gen_array_ops.strided_slice(x, begin, end, stride, end_mask=mask)
    sizes = [int(n) for n in x.shape]
    is_cut = [(b, e, s) != (0, n, 1) for b, e, s, n in zip(begin, end, stride, sizes, strict=True)]
    breaks = [one or other for one, other in pairwise(is_cut)]
    starts = [0, *(axis for axis, is_break in enumerate(breaks, 1) if is_break)]
    flat = merged(sizes, breaks)
    bounds = [
        (begin[axis], end[axis], stride[axis]) if is_cut[axis] else (0, size, 1)
        for axis, size in zip(starts, flat, strict=True)
    ]
    flat_mask = sum(1 << place for place, axis in enumerate(starts) if mask >> axis & 1)
    columns = [list(column) for column in zip(*bounds, strict=True)]
    y = gen_array_ops.strided_slice(resized(x, flat), *columns, end_mask=flat_mask)
    each = [
        len(range(n)[slice(b, e if not mask >> i & 1 else None, s)])
        for i, (n, b, e, s) in enumerate(zip(sizes, begin, end, stride, strict=True))
    ]
    return resized(y, each)


def gather(call: Call) -> Value:
    """Gather at constant or computed indices; one constant index is a slice."""
    a = call.read(axis=0)
    value, indices = call.value(), call.value(1)
    if indices.is_constant:
        return _gathered(value, indices.logical, a.axis)
    data = call.logical()
    axis = a.axis % value.rank
    places = wrapped(call.logical(1), value.shape[axis])
    return Value.of(gen_array_ops.gather_v2(data, places, axis))


def _gathered(value: Value, indices: np.ndarray, axis: int) -> Value:
    place, axis = value.axis(axis), axis % value.rank
    size = value.shape[axis]
    indices = np.where(indices < 0, indices + size, indices).astype(np.int32)
    x = as_tensor(value)
    if indices.size == 1:
        begin, sizes = np.zeros(value.rank, np.int32), np.array(value.stored_shape, np.int32)
        begin[place], sizes[place] = indices.item(), 1
        part = gen_array_ops._slice(x, begin, sizes)
    else:
        part = gen_array_ops.gather_v2(x, constant(indices.reshape(-1)), place)
    shape = value.shape
    return reshaped(Value(part, value.order), (*shape[:axis], *indices.shape, *shape[axis + 1 :]))


def expand(call: Call) -> Value:
    """Expand: broadcast to the shape that ONNX infers."""
    call.read()
    value = call.value()
    widened = reshaped(value, (1,) * (len(call.shape) - value.rank) + value.shape)
    return _tiled(widened, [b // a for a, b in zip(widened.shape, call.shape, strict=True)])


def tile(call: Call) -> Value:
    call.read()
    return _tiled(call.value(), list(call.integers(1, "repeats")))


def _tiled(value: Value, repeats: list[int]) -> Value:
    if all(n == 1 for n in repeats):
        return value
    multiples = np.array([repeats[axis] for axis in value.order], np.int32)
    return Value(gen_array_ops.tile(as_tensor(value), multiples), value.order)


def depth_to_space(call: Call) -> Value:
    """DepthToSpace; CRD, PyTorch's pixel_shuffle, reorders the channels to DCR first."""
    a = call.read(blocksize=None, mode="DCR")
    x, block = call.nhwc(), a.blocksize
    if a.mode == "CRD":
        channels = int(x.shape[3])
        crd = np.arange(channels, dtype=np.int32).reshape(-1, block * block)
        x = gen_array_ops.gather_v2(x, constant(crd.T.reshape(-1)), 3)
    elif a.mode != "DCR":
        raise call.refuse(f"mode '{a.mode}' is not known")
    return nhwc(gen_array_ops.depth_to_space(x, block))


def space_to_depth(call: Call) -> Value:
    """SpaceToDepth; TF.js has none, but transposes."""
    a = call.read(blocksize=None)
    x, block = call.nhwc(), a.blocksize
    if call.target == "tflite":
        return nhwc(gen_array_ops.space_to_depth(x, block))
    n, h, w, c = (int(size) for size in x.shape)
    high, wide = h // block, w // block
    x = resized(x, (n * high, block, wide, block * c))
    x = gen_array_ops.transpose(x, [0, 2, 1, 3])
    return nhwc(resized(x, (n, high, wide, block * block * c)))


def constant_of_shape(call: Call) -> Value:
    """ConstantOfShape: one number, which operations broadcast."""
    a = call.read(value=np.zeros(1, np.float32))
    return Value.of(np.broadcast_to(a.value.reshape(()), call.shape))
