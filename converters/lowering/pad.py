"""Padding."""

from __future__ import annotations

import numpy as np

from converters.lowering.call import Call, Target
from converters.lowering.join import joined
from converters.lowering.tf import Tensor, as_dtype, constant, gen_array_ops
from converters.lowering.value import Value, as_tensor

Pads = list[tuple[int, int]]


def pad(call: Call) -> Value:
    """Pad: constant, reflect, edge or wrap; a negative width crops."""
    a = call.read(mode="constant", pads=None, value=0.0)
    value = call.value()
    flat = tuple(a.pads or call.integers(1, "padding"))
    rank = value.rank
    axes = call.integers(3, "axes") if call.has(3) else tuple(range(rank))
    widths = dict.fromkeys(range(rank), (0, 0))
    for i, axis in enumerate(axes):
        widths[axis % rank] = (flat[i], flat[i + len(axes)])
    pads = [widths[axis] for axis in value.order]
    x = _cropped(as_tensor(value), pads)
    pads = [(max(before, 0), max(after, 0)) for before, after in pads]
    if a.mode == "constant":
        fill = call.constant(2, "fill").item() if call.has(2) else a.value
        return Value(_filled(x, pads, fill), value.order)
    if a.mode not in PLACES:
        raise call.refuse(f"mode '{a.mode}' is not known")
    return Value(_extended(call, x, pads, a.mode), value.order)


def _cropped(x: Tensor, pads: Pads) -> Tensor:
    if all(before >= 0 and after >= 0 for before, after in pads):
        return x
    begin = np.array([max(-before, 0) for before, _ in pads], np.int32)
    end = [int(n) + min(after, 0) for n, (_, after) in zip(x.shape, pads, strict=True)]
    return gen_array_ops._slice(x, begin, np.array(end, np.int32) - begin)


def _filled(x: Tensor, pads: Pads, fill: float) -> Tensor:
    if not np.any(pads):
        return x
    if fill == 0 and x.dtype != as_dtype("bool"):
        return gen_array_ops.pad(x, np.array(pads, np.int32))
    fill_value = constant(np.asarray(fill, x.dtype.as_numpy_dtype))
    return gen_array_ops.pad_v2(x, np.array(pads, np.int32), fill_value)


def _extended(call: Call, x: Tensor, pads: Pads, mode: str) -> Tensor:
    """The input extended by its own elements.

    TFLite gets slices and concatenations, which XNNPACK runs (MIRROR_PAD it does not); on
    WASM they are slower than MirrorPad, which TF.js gets where it means the same.
    """
    sizes = [int(n) for n in x.shape]
    if mode == "reflect" and any(max(p) >= n for n, p in zip(sizes, pads, strict=True)):
        raise call.refuse(
            f"reflection of {pads} from sizes {sizes}", do="pad by less than the size"
        )
    if call.target == "tfjs" and (mode == "reflect" or (mode == "edge" and np.max(pads) == 1)):
        return gen_array_ops.mirror_pad(
            x, np.array(pads, np.int32), "REFLECT" if mode == "reflect" else "SYMMETRIC"
        )
    for axis, (before, after) in enumerate(pads):
        x = _along(call.target, x, axis, before, after, mode)
    return x


PLACES = {
    "reflect": lambda place, size: abs(place) if place < size else 2 * (size - 1) - place,
    "edge": lambda place, size: min(max(place, 0), size - 1),
    "wrap": lambda place, size: place % size,
}
"""Which element of an axis of some size is at a place outside of it."""


def _along(target: Target, x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    size, place = int(x.shape[axis]), PLACES[mode]
    head = [place(i, size) for i in range(-before, 0)]
    tail = [place(i, size) for i in range(size, size + after)]
    cuts = {i: _cut(x, axis, i) for i in {*head, *tail}}
    parts = [cuts[i] for i in head] + [x] + [cuts[i] for i in tail]
    return joined(target, parts, axis)


def _cut(x: Tensor, axis: int, place: int) -> Tensor:
    """One row."""
    begin, size = np.zeros(len(x.shape), np.int32), np.array(x.shape, np.int32)
    begin[axis], size[axis] = place, 1
    return gen_array_ops._slice(x, begin, size)
