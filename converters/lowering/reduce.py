"""Sums, means and extremes along axes, and softmax."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace

import numpy as np

from converters.lowering.call import Call
from converters.lowering.tf import (
    Tensor,
    as_dtype,
    constant,
    gen_array_ops,
    gen_math_ops,
    gen_nn_ops,
    int32,
)
from converters.lowering.value import (
    MOST_AXES,
    Order,
    Value,
    as_tensor,
    merged,
    reshape,
    reshaped,
)

Emit = Callable[..., Tensor]


def identity(x: Tensor) -> Tensor:
    return x


def reduction(emit: Emit, before: Emit = identity, after: Emit = identity) -> Callable[..., Value]:
    """A reduction, with something done to each element before and to each result after."""

    def lower(call: Call) -> Value:
        a = call.read(axes=None, keepdims=1, noop_with_empty_axes=0)
        value = call.value()
        if as_tensor(value).dtype == as_dtype("bool"):
            raise call.refuse("of booleans", do="reduce float32 numbers")
        axes = _axes(call, a)
        if not axes:
            return Value(after(before(as_tensor(value))), value.order)
        places = np.array(sorted(value.axis(axis) for axis in axes), np.int32)
        if value.rank > MOST_AXES:
            return reshaped(_of_many_axes(emit, before, after, value, axes), call.shape)
        x = emit(before(as_tensor(value)), places, keep_dims=bool(a.keepdims))
        return Value(after(x), value.order if a.keepdims else without(value.order, axes))

    return lower


def _of_many_axes(
    emit: Emit, before: Emit, after: Emit, value: Value, axes: tuple[int, ...]
) -> Value:
    """The reduction without its axes, neighbours of which are merged, as are those that stay."""
    is_reduced = [axis in axes for axis in value.order]
    breaks = [one != other for one, other in pairwise(is_reduced)]
    flat = reshape(as_tensor(value), merged(value.stored_shape, breaks))
    first = int(not is_reduced[0])
    places = np.arange(first, len(flat.shape), 2, dtype=np.int32)
    x = after(emit(before(flat), places, keep_dims=False))
    order = without(value.order, axes)
    kept = [size for size, gone in zip(value.stored_shape, is_reduced, strict=True) if not gone]
    return Value(reshape(x, kept), order)


def without(order: Order, axes: tuple[int, ...]) -> Order:
    """The order of what remains when axes are dropped."""
    kept = sorted(axis for axis in order if axis not in axes)
    return tuple(kept.index(axis) for axis in order if axis in kept)


def arg(emit: Emit) -> Callable[[Call], Value]:
    """ArgMax or ArgMin: the first place of the extreme, as a 32-bit integer."""

    def lower(call: Call) -> Value:
        a = call.read(axis=0, keepdims=1, select_last_index=0)
        if a.select_last_index:
            raise call.refuse("select_last_index", do="take the first index")
        value = call.value()
        axis = a.axis % value.rank
        x = emit(as_tensor(value), value.axis(axis), output_type=int32)
        if a.keepdims:
            return Value(gen_array_ops.expand_dims(x, value.axis(axis)), value.order)
        return Value(x, without(value.order, (axis,)))

    return lower


def softmax(call: Call) -> Value:
    return _along_last(call, gen_nn_ops.softmax)


def log_softmax(call: Call) -> Value:
    return _along_last(call, gen_nn_ops.log_softmax)


def _along_last(call: Call, emit: Emit) -> Value:
    """TensorFlow's softmax is along the last axis, which for channels it already is."""
    a = call.read(axis=-1)
    value = call.value()
    axis = a.axis % value.rank
    order = (*(other for other in value.order if other != axis), axis)
    return Value(emit(as_tensor(call.arrange(value, order))), order)


def log_sum_exp(call: Call) -> Value:
    """ReduceLogSumExp: the maximum is taken out first, so that exp does not overflow."""
    a = call.read(axes=None, keepdims=1, noop_with_empty_axes=0)
    value = call.value()
    axes = _axes(call, a)
    if not axes:
        return value
    places = np.array(sorted(value.axis(axis) for axis in axes), np.int32)
    x = as_tensor(value)
    top = gen_math_ops._max(x, places, keep_dims=True)
    total = gen_math_ops._sum(gen_math_ops.exp(gen_math_ops.sub(x, top)), places, keep_dims=True)
    result = Value(gen_math_ops.add_v2(gen_math_ops.log(total), top), value.order)
    return reshaped(result, call.shape)


def _axes(call: Call, a: SimpleNamespace) -> tuple[int, ...]:
    """The axes that a reduction names, all if it names none, none if it says so."""
    axes = tuple(a.axes or ()) or (call.integers(1, "axes") if call.has(1) else ())
    rank = call.value().rank
    if not axes:
        return () if a.noop_with_empty_axes else tuple(range(rank))
    return tuple(axis % rank for axis in axes)


def cumulative_sum(call: Call) -> Value:
    a = call.read(exclusive=0, reverse=0)
    (axis,) = call.integers(1, "axis")
    value = call.value()
    place = constant(np.int32(value.axis(axis)))
    x = gen_math_ops.cumsum(
        as_tensor(value), place, exclusive=bool(a.exclusive), reverse=bool(a.reverse)
    )
    return Value(x, value.order)
