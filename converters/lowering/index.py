"""Operations on places: picking elements by index, ranking them, marking where they stand."""

from __future__ import annotations

import math

import numpy as np

from converters.lowering.call import Call
from converters.lowering.elementwise import as_like, together
from converters.lowering.fold import folded
from converters.lowering.tf import (
    constant,
    gen_array_ops,
    gen_math_ops,
    gen_nn_ops,
    int32,
)
from converters.lowering.value import Value, as_tensor


def picked(call: Call) -> Value:
    """GatherElements and GatherND at constant indices, as one Gather of the flattened input.

    Which elements it takes is what ONNX's reference makes of an array of places.
    """
    call.read(axis=0, batch_dims=0)
    call.constant(1, "indices")
    shape = call.value().shape
    places = Value.of(np.arange(math.prod(shape), dtype=np.int64).reshape(shape))
    (taken,) = folded(call.node, (places, call.inputs[1])).values()
    flat = gen_array_ops.reshape(call.logical(), np.array([-1], np.int32))
    return Value.of(gen_array_ops.gather_v2(flat, constant(taken.logical.astype(np.int32)), 0))


def top_k(call: Call) -> tuple[Value, Value]:
    """TopK, always sorted: values and their places; of equal ones the first comes first."""
    a = call.read(axis=-1, largest=1, sorted=1)
    (count,) = call.integers(1, "number of results")
    value, order = _axis_last(call, a.axis)
    x = as_tensor(value)
    # TensorFlow has the largest only, and takes the first of equal ones either way.
    top, places = gen_nn_ops.top_kv2(x if a.largest else gen_math_ops.neg(x), count)
    return Value(top if a.largest else gen_math_ops.neg(top), order), Value(places, order)


def one_hot(call: Call) -> Value:
    """OneHot; a negative index counts from the end, one outside marks nothing."""
    a = call.read(axis=-1)
    (depth,) = call.integers(1, "depth")
    off, on = (as_tensor(Value.of(np.asarray(n))) for n in call.constant(2, "values"))
    indices = call.logical(0)
    if indices.dtype != int32:
        indices = gen_math_ops.cast(indices, int32)
    from_end = gen_math_ops.add_v2(indices, constant(np.int32(depth)))
    is_negative = gen_math_ops.less(indices, constant(np.int32(0)))
    indices = gen_math_ops.select_v2(is_negative, from_end, indices)
    axis = a.axis % len(call.shape)
    return Value.of(gen_array_ops.one_hot(indices, depth, on, off, axis=axis))


def hardmax(call: Call) -> Value:
    """Hardmax: 1 at the first maximum along an axis, 0 elsewhere."""
    value, order = _axis_last(call, call.read(axis=-1).axis)
    x = as_tensor(value)
    place = gen_math_ops.arg_max(x, value.rank - 1, output_type=int32)
    one, zero = as_like(1, x), as_like(0, x)
    return Value(gen_array_ops.one_hot(place, int(x.shape[-1]), one, zero, axis=-1), order)


def trilu(call: Call) -> Value:
    """Trilu: zero above or below a diagonal of the last two axes, whatever stands there."""
    a = call.read(upper=1)
    diagonal = int(call.constant(1, "diagonal").item()) if call.has(1) else 0
    ones = np.ones(call.shape[-2:], np.bool_)
    mask = Value.of(np.triu(ones, diagonal) if a.upper else np.tril(ones, diagonal))
    (kept, x), order = together(call, [mask, call.value()])
    # No product with a mask: 0 times infinity is NaN.
    return Value(gen_math_ops.select_v2(kept, x, as_like(0, x)), order)


def _axis_last(call: Call, axis: int) -> tuple[Value, tuple[int, ...]]:
    """The input with one axis stored last, and that order."""
    value = call.value()
    order = (*(other for other in value.order if other != axis % value.rank), axis % value.rank)
    return call.arrange(value, order), order
