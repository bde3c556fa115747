"""Operations on places: picking elements by index, ranking them, marking where they stand."""

from __future__ import annotations

import math

import numpy as np

from converters.lowering.call import Call
from converters.lowering.elementwise import as_like, together
from converters.lowering.places import Places, element_places, row_places
from converters.lowering.tf import (
    Tensor,
    constant,
    gen_array_ops,
    gen_math_ops,
    gen_nn_ops,
    int32,
)
from converters.lowering.value import Value, as_tensor


def gather_elements(call: Call) -> Value:
    """GatherElements, as one Gather of the flat input."""
    axis = call.read(axis=0).axis
    shape = call.value().shape
    return _gathered(call, element_places(call, shape, axis % len(shape)), width=1)


def gather_nd(call: Call) -> Value:
    """GatherND, as one Gather of rows."""
    batch = call.read(batch_dims=0).batch_dims
    shape, depth = call.value().shape, call.value(1).shape[-1]
    return _gathered(call, row_places(call, shape, batch), math.prod(shape[batch + depth :]))


def _gathered(call: Call, places: Places, width: int) -> Value:
    sizes = [-1] if width == 1 else [-1, width]
    rows = gen_array_ops.reshape(call.logical(), np.array(sizes, np.int32))
    if isinstance(places, np.ndarray):
        places = constant(places.astype(np.int32))
    taken = gen_array_ops.gather_v2(rows, places, 0)
    return Value.of(gen_array_ops.reshape(taken, np.array(call.shape, np.int32)))


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
    """OneHot; a negative index counts from the end, one outside marks nothing.

    As a comparison with all places: TF.js's OneHot has the axis last always.
    """
    a = call.read(axis=-1)
    (depth,) = call.integers(1, "depth")
    axis = a.axis % len(call.shape)
    on, off = (_element(call, 2, place) for place in (1, 0))
    indices = gen_array_ops.expand_dims(call.logical(0), axis)
    if indices.dtype != int32:
        indices = gen_math_ops.cast(indices, int32)
    from_end = gen_math_ops.add_v2(indices, constant(np.int32(depth)))
    is_negative = gen_math_ops.less(indices, constant(np.int32(0)))
    indices = gen_math_ops.select_v2(is_negative, from_end, indices)
    return Value.of(gen_math_ops.select_v2(_is_at(indices, axis, depth), on, off))


def _element(call: Call, index: int, place: int) -> Tensor:
    """One number of a vector that is given to a node."""
    value = call.value(index)
    if value.is_constant:
        return as_tensor(Value.of(np.asarray(value.logical[place])))
    part = gen_array_ops._slice(as_tensor(value), np.array([place], np.int32), [1])
    return gen_array_ops.reshape(part, np.zeros(0, np.int32))


def _is_at(places: Tensor, axis: int, size: int) -> Tensor:
    """Where an axis of `size` elements is at the place that is given: (..., 1, ...) of integers."""
    along = np.arange(size, dtype=np.int32).reshape([-1] + [1] * (len(places.shape) - axis - 1))
    return gen_math_ops.equal(places, constant(along))


def hardmax(call: Call) -> Value:
    """Hardmax: 1 at the first maximum along an axis, 0 elsewhere."""
    value, order = _axis_last(call, call.read(axis=-1).axis)
    x = as_tensor(value)
    axis = value.rank - 1
    place = gen_array_ops.expand_dims(gen_math_ops.arg_max(x, axis, output_type=int32), axis)
    return Value(gen_math_ops.cast(_is_at(place, axis, int(x.shape[-1])), x.dtype), order)


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
