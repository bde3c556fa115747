"""Indices as places in a tensor that is laid out flat, known while converting or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from converters.lowering.call import Call
from converters.lowering.graph import Shape
from converters.lowering.tf import Tensor, constant, gen_array_ops, gen_math_ops, int32

Places: TypeAlias = np.ndarray | Tensor
NEVER_NEGATIVE = ("ArgMax", "ArgMin", "TopKV2", "FloorMod")


def wrapped(indices: Tensor, sizes: int | np.ndarray) -> Tensor:
    """Indices as 32-bit integers from 0; below 0 they count from the end, as ONNX has it."""
    if indices.dtype != int32:
        indices = gen_math_ops.cast(indices, int32)
    if indices.op.type in NEVER_NEGATIVE:
        return indices
    return gen_math_ops.floor_mod(indices, constant(np.asarray(sizes, np.int32)))


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """How far apart two elements lie that are neighbours along each axis."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def element_places(call: Call, shape: Shape, axis: int) -> Places:
    """Of GatherElements and ScatterElements: which elements of a tensor, flat."""
    given, strides = call.value(1), strides_of(shape)
    axes = [other for other in range(len(shape)) if other != axis]
    # The indices may have fewer rows than the data: then the data's first ones are meant.
    around = np.indices(given.shape)
    base = sum((around[other] * strides[other] for other in axes), np.zeros(given.shape, int))
    if given.is_constant:
        return np.asarray(given.logical % shape[axis] * strides[axis] + base).reshape(-1)
    along = _scaled(wrapped(call.logical(1), shape[axis]), strides[axis])
    places = gen_math_ops.add_v2(along, constant(base.astype(np.int32)))
    return gen_array_ops.reshape(places, np.array([-1], np.int32))


def row_places(call: Call, shape: Shape, batch: int = 0) -> Places:
    """Of GatherND and ScatterND: which rows of a tensor, whose first axes are indexed, flat."""
    given = call.value(1)
    depth = given.shape[-1]
    strides = strides_of(shape[: batch + depth])
    around = np.indices(given.shape[:-1])
    base = sum(
        (around[axis] * strides[axis] for axis in range(batch)), np.zeros(given.shape[:-1], int)
    )
    sizes, steps = np.array(shape[batch : batch + depth]), np.array(strides[batch:])
    if given.is_constant:
        return np.asarray((given.logical % sizes * steps).sum(-1) + base).reshape(-1)
    indices = wrapped(call.logical(1), sizes)
    columns = [_scaled(_column(indices, place), int(step)) for place, step in enumerate(steps)]
    places = columns[0]
    for column in columns[1:]:
        places = gen_math_ops.add_v2(places, column)
    places = gen_array_ops.reshape(places, np.array([-1], np.int32))
    if not base.any():
        return places
    return gen_math_ops.add_v2(places, constant(base.reshape(-1).astype(np.int32)))


def _column(indices: Tensor, place: int) -> Tensor:
    """One of the last axis, which is kept: TF.js sums integers as floats, hence no product."""
    shape = [int(n) for n in indices.shape]
    begin = np.array([0] * (len(shape) - 1) + [place], np.int32)
    return gen_array_ops._slice(indices, begin, np.array([*shape[:-1], 1], np.int32))


def _scaled(indices: Tensor, step: int) -> Tensor:
    return indices if step == 1 else gen_math_ops.mul(indices, constant(np.int32(step)))
