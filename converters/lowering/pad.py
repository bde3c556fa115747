"""Padding."""

from __future__ import annotations

import math

import numpy as np

from converters.lowering.call import Call, Target
from converters.lowering.join import joined
from converters.lowering.tf import Tensor, as_dtype, constant, float32, gen_array_ops
from converters.lowering.value import Value, as_tensor

Pads = list[tuple[int, int]]
STORED = 16384
"""How many numbers a padding may store in the file (64 kB)."""


def pad(call: Call) -> Value:
    """Pad with a constant or by reflection; a negative width crops.

    The other modes are slices by now (`rewrites.pad_as_slices`).
    """
    a = call.read(mode="constant", pads=None, value=0.0)
    value = call.value()
    flat = tuple(a.pads or call.integers(1, "padding"))
    rank = value.rank
    axes = call.integers(3, "axes") if call.has(3) else tuple(range(rank))
    widths = dict.fromkeys(range(rank), (0, 0))
    for i, axis in enumerate(axes):
        widths[axis % rank] = (flat[i], flat[i + len(axes)])
    pads = [widths[axis] for axis in value.order]
    x = cropped(as_tensor(value), pads)
    pads = [(max(before, 0), max(after, 0)) for before, after in pads]
    if a.mode == "constant":
        fill = call.constant(2, "fill").item() if call.has(2) else a.value
        return Value(_filled(call.target, x, pads, fill), value.order)
    if a.mode != "reflect":
        raise call.refuse(
            f"mode '{a.mode}'", do="pad by constant widths of at least 0, less than the size"
        )
    sizes = [int(n) for n in x.shape]
    if any(max(p) >= n for n, p in zip(sizes, pads, strict=True)):
        raise call.refuse(
            f"reflection of {pads} from sizes {sizes}", do="reflect less than the size of the map"
        )
    return Value(gen_array_ops.mirror_pad(x, np.array(pads, np.int32), "REFLECT"), value.order)


def cropped(x: Tensor, pads: Pads) -> Tensor:
    if all(before >= 0 and after >= 0 for before, after in pads):
        return x
    begin = np.array([max(-before, 0) for before, _ in pads], np.int32)
    end = [int(n) + min(after, 0) for n, (_, after) in zip(x.shape, pads, strict=True)]
    return gen_array_ops._slice(x, begin, np.array(end, np.int32) - begin)


def _filled(target: Target, x: Tensor, pads: Pads, fill: float) -> Tensor:
    """Padded with a number; XNNPACK pads with zeros only, but joins with (small) constants."""
    if not np.any(pads):
        return x
    sizes = [int(n) for n in x.shape]
    added = math.prod(n + sum(pair) for n, pair in zip(sizes, pads, strict=True)) - math.prod(sizes)
    if target == "tflite" and fill != 0 and x.dtype == float32 and added <= STORED:
        for axis, pair in enumerate(pads):
            sizes = [int(n) for n in x.shape]
            ends = [np.full((*sizes[:axis], n, *sizes[axis + 1 :]), fill, "float32") for n in pair]
            before, after = ([constant(end)] if end.size else [] for end in ends)
            x = joined(target, [*before, x, *after], axis)
        return x
    if fill == 0 and x.dtype != as_dtype("bool"):
        return gen_array_ops.pad(x, np.array(pads, np.int32))
    fill_value = constant(np.asarray(fill, x.dtype.as_numpy_dtype))
    return gen_array_ops.pad_v2(x, np.array(pads, np.int32), fill_value)
