"""ScatterElements and ScatterND: numbers put into places of a tensor, or added to what is there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from converters.lowering.call import Call
from converters.lowering.elementwise import selected
from converters.lowering.join import joined
from converters.lowering.places import Places, element_places, row_places
from converters.lowering.tf import (
    Tensor,
    as_dtype,
    constant,
    gen_array_ops,
    gen_math_ops,
    int32,
)
from converters.lowering.value import Value

RUNS = 8
"""Up to how many slices a result is joined of; of more, it is gathered."""
LAYERS = 16
"""How often a place may be met by a maximum, minimum or product."""
COMBINED = {"mul": gen_math_ops.mul, "max": gen_math_ops.maximum, "min": gen_math_ops.minimum}


@dataclass(frozen=True)
class Rows:
    """Data and updates as rows of `width` numbers, and in which row of the data each update goes.

    Where two updates have one place, the last counts, or with a reduction all of them.
    """

    data: Tensor
    updates: Tensor
    places: Places

    @property
    def count(self) -> int:
        return int(self.data.shape[0])

    @property
    def width(self) -> int:
        return int(self.data.shape[1])


def scatter_elements(call: Call) -> Value:
    """ScatterElements (and Scatter, as it was called): one number at each index along an axis."""
    a = call.read(axis=0, reduction="none")
    shape = call.value().shape
    places = element_places(call, shape, a.axis % len(shape))
    return _scattered(call, a.reduction, places, width=1)


def scatter_nd(call: Call) -> Value:
    """ScatterND: a slice at each index into the first axes."""
    a = call.read(reduction="none")
    shape, depth = call.value().shape, call.value(1).shape[-1]
    return _scattered(call, a.reduction, row_places(call, shape), math.prod(shape[depth:]))


def _scattered(call: Call, reduction: str, places: Places, width: int) -> Value:
    rows = Rows(_rows(call.logical(0), width), _rows(call.logical(2), width), places)
    if reduction == "none":
        result = _replaced(call, rows)
    elif reduction == "add":
        result = gen_math_ops.add_v2(rows.data, _sums(rows, rows.updates))
    elif reduction in COMBINED:
        result = _combined(call, rows, reduction)
    else:
        raise call.refuse(f"reduction '{reduction}' is not known")
    return Value.of(gen_array_ops.reshape(result, np.array(call.shape, np.int32)))


def _rows(x: Tensor, width: int) -> Tensor:
    return gen_array_ops.reshape(x, np.array([-1, width], np.int32))


def _replaced(call: Call, rows: Rows) -> Tensor:
    if isinstance(rows.places, np.ndarray):
        source = np.arange(rows.count)
        source[rows.places] = rows.count + np.arange(rows.places.size)  # the last one stays
        return _picked(call, [rows.data, rows.updates], source)
    # ONNX leaves open what becomes of a place that is met twice: here it is the sum.
    met = gen_math_ops.greater(_sums(rows, _ones(rows)), constant(np.float32(0)))
    if rows.data.dtype == as_dtype("bool"):
        # Integers, for nothing sums booleans.
        sums = _sums(rows, gen_math_ops.cast(rows.updates, int32))
        updates = gen_math_ops.greater(sums, constant(np.int32(0)))
    else:
        updates = _sums(rows, rows.updates)
    return selected(met, updates, rows.data)


def _ones(rows: Rows) -> Tensor:
    return constant(np.ones((int(rows.updates.shape[0]), 1), np.float32))


def _sums(rows: Rows, updates: Tensor) -> Tensor:
    """The updates at their places, 0 elsewhere."""
    count = int(updates.shape[0])
    if isinstance(rows.places, np.ndarray):
        places = _stored(rows.places.reshape(count, 1))
    else:
        places = gen_array_ops.reshape(rows.places, np.array([count, 1], np.int32))
    shape = np.array([rows.count, int(updates.shape[1])], np.int32)
    return gen_array_ops.scatter_nd(places, updates, shape)


def _combined(call: Call, rows: Rows, reduction: str) -> Tensor:
    """One operation for all first updates of their places, then one for all second ones."""
    if not isinstance(rows.places, np.ndarray):
        raise call.refuse(
            f"reduction '{reduction}' at indices that are computed while running",
            do="make the indices a buffer, or add instead",
        )
    met = np.zeros(rows.count, int)
    layer = np.empty(rows.places.size, int)
    for nth, place in enumerate(rows.places):
        layer[nth], met[place] = met[place], met[place] + 1
    if met.max() > LAYERS:
        raise call.refuse(f"{met.max()} numbers at one place", do=f"combine {LAYERS} at most")
    result = rows.data
    for nth in range(met.max()):
        source = np.arange(rows.count)
        these = np.flatnonzero(layer == nth)
        source[rows.places[these]] = rows.count + these
        update = _picked(call, [result, rows.updates], source)
        combined = COMBINED[reduction](result, update)
        is_met = np.zeros((rows.count, 1), bool)
        is_met[rows.places[these]] = True
        result = selected(constant(is_met), combined, result)
    return result


def _picked(call: Call, parts: list[Tensor], source: np.ndarray) -> Tensor:
    """The rows of the parts, one below the other, that `source` counts."""
    first = int(parts[0].shape[0])
    # A run that begins in one part and ends in the next is two.
    is_broken = (np.diff(source) != 1) | np.diff(source >= first)
    breaks = np.flatnonzero(is_broken) + 1
    runs = np.split(source, breaks)
    if len(runs) > RUNS:
        return gen_array_ops.gather_v2(gen_array_ops.concat_v2(parts, 0), _stored(source), 0)
    return joined(call.target, [_run(parts, int(run[0]), len(run)) for run in runs], 0)


def _stored(places: np.ndarray) -> Tensor:
    return constant(places.astype(np.int32))


def _run(parts: list[Tensor], start: int, count: int) -> Tensor:
    first = int(parts[0].shape[0])
    part, start = (parts[0], start) if start < first else (parts[1], start - first)
    if count == int(part.shape[0]):
        return part
    return gen_array_ops._slice(
        part, np.array([start, 0], np.int32), np.array([count, int(part.shape[1])], np.int32)
    )
