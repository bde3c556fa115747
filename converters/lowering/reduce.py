"""Sums, means and extremes along axes, and softmax."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from converters.lowering.call import Call
from converters.lowering.tf import Tensor, constant, gen_array_ops, gen_math_ops, gen_nn_ops, int32
from converters.lowering.value import Order, Value, as_tensor

Emit = Callable[..., Tensor]


def identity(x: Tensor) -> Tensor:
    return x


def reduction(emit: Emit, before: Emit = identity, after: Emit = identity) -> Callable[..., Value]:
    """A reduction, with something done to each element before and to each result after."""

    def lower(call: Call) -> Value:
        a = call.read(axes=None, keepdims=1, noop_with_empty_axes=0)
        value = call.value()
        axes = tuple(a.axes or ()) or (call.integers(1, "axes") if call.has(1) else ())
        if not axes and a.noop_with_empty_axes:
            return Value(after(before(as_tensor(value))), value.order)
        axes = tuple(axis % value.rank for axis in axes) or tuple(range(value.rank))
        places = np.array(sorted(value.axis(axis) for axis in axes), np.int32)
        x = emit(before(as_tensor(value)), places, keep_dims=bool(a.keepdims))
        return Value(after(x), value.order if a.keepdims else without(value.order, axes))

    return lower


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
    if a.noop_with_empty_axes or not a.keepdims:
        raise call.refuse("without keepdims", do="use keepdim=True and squeeze")
    value = call.value()
    axes = tuple(a.axes or ()) or (call.integers(1, "axes") if call.has(1) else range(value.rank))
    places = np.array(sorted(value.axis(axis) for axis in axes), np.int32)
    x = as_tensor(value)
    top = gen_math_ops._max(x, places, keep_dims=True)
    total = gen_math_ops._sum(gen_math_ops.exp(gen_math_ops.sub(x, top)), places, keep_dims=True)
    return Value(gen_math_ops.add_v2(gen_math_ops.log(total), top), value.order)


def cumulative_sum(call: Call) -> Value:
    a = call.read(exclusive=0, reverse=0)
    (axis,) = call.integers(1, "axis")
    value = call.value()
    place = constant(np.int32(value.axis(axis)))
    x = gen_math_ops.cumsum(
        as_tensor(value), place, exclusive=bool(a.exclusive), reverse=bool(a.reverse)
    )
    return Value(x, value.order)
