"""Convolutions and pools of volumes (N, C, D, H, W), as those of their slices, combined.

Neither XNNPACK nor TF.js's WASM has windows in three dimensions; in two, both are fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from converters.lowering.call import Call
from converters.lowering.graph import Shape
from converters.lowering.tf import Tensor, constant, gen_array_ops, gen_math_ops, gen_nn_ops
from converters.lowering.value import Value, as_tensor, channels_last
from converters.lowering.window import Window, read_window

Lower = Callable[[Call], Value]
NDHWC = channels_last(5)


@dataclass(frozen=True)
class DepthWindow:
    """The window along the first spatial axis: kernel, stride, dilation and padding."""

    kernel: int
    stride: int
    dilation: int
    before: int
    after: int


def _split(call: Call, window: Window) -> tuple[DepthWindow, Call]:
    """The window along the depth, and the call with the window of each slice."""
    ((before, after), *pads) = window.pads
    depth = DepthWindow(window.kernel[0], window.strides[0], window.dilations[0], before, after)
    flat: dict[str, Any] = {
        name: value for name, value in call.node.attributes.items() if name != "auto_pad"
    }
    flat |= {
        "kernel_shape": list(window.kernel[1:]),
        "strides": list(window.strides[1:]),
        "dilations": list(window.dilations[1:]),
        "pads": [begin for begin, _ in pads] + [end for _, end in pads],
    }
    if all(d == 1 for d in flat["dilations"]):
        del flat["dilations"]
    if "output_padding" in flat:
        flat["output_padding"] = flat["output_padding"][1:]
    return depth, replace(call, node=replace(call.node, attributes=flat))


def convolution(call: Call, lower: Lower) -> Value:
    """One convolution for each slice of the kernel, of the slices that it meets; their sum."""
    weight = call.constant(1, "weight")
    window = read_window(
        call, call.read(**WINDOW, group=1), weight.shape[2:], call.value().shape[2:]
    )
    depth, flat = _split(call, window)
    padded = _padded(_slices(call), depth.before, depth.after, 0)
    total = None
    for tap in range(depth.kernel):
        part = _every(padded, tap * depth.dilation, depth.stride, call.shape[2])
        # The bias once, with the first.
        others = (Value.of(weight[:, :, tap]), *(call.inputs[2:] if tap == 0 else ()))
        y = _lowered(flat, lower, part, call.value().shape, others, call.shape)
        total = y if total is None else gen_math_ops.add_v2(total, y)
    return _volume(total, call.shape)


def transposed_convolution(call: Call, lower: Lower) -> Value:
    """One transposed convolution for each slice of the kernel, put where it lands; their sum."""
    a = call.read(**WINDOW, group=1, output_padding=None, output_shape=None)
    if a.auto_pad != "NOTSET" or a.output_shape:
        raise call.refuse("auto_pad and output_shape", do="give pads and output_padding")
    weight, shape = call.constant(1, "weight"), call.value().shape
    depth, flat = _split(call, read_window(call, a, weight.shape[2:], shape[2:]))
    wide, total = depth.before + call.shape[2], None
    slices = _slices(call)
    for tap in range(depth.kernel):
        others = (Value.of(weight[:, :, tap]),)
        y = _lowered(
            flat, lower, slices, shape, others, (*call.shape[:2], shape[2], *call.shape[3:])
        )
        y = _spread(y, shape[0], shape[2], depth.stride, tap * depth.dilation, wide)
        total = y if total is None else gen_math_ops.add_v2(total, y)
    cut = _every(total, depth.before, 1, call.shape[2])
    if call.has(2):
        maps = np.array([-1, 1, int(np.prod(call.shape[3:])), call.shape[1]], np.int32)
        bias = constant(call.constant(2, "bias"))
        cut = gen_nn_ops.bias_add(gen_array_ops.reshape(cut, maps), bias)
    return _volume(cut, call.shape)


def max_pool(call: Call, lower: Lower) -> Value:
    """The maxima of each slice, then of the slices in the window."""
    a = call.read(**WINDOW, ceil_mode=0, storage_order=0)
    if len(call.results) > 1:
        raise call.refuse("the places of its maxima", do="use MaxPool3d(return_indices=False)")
    y, depth, n = _pooled_slices(call, lower, a)
    padded = _padded(y, depth.before, _behind(depth, n, call.shape[2]), -np.inf)
    best = None
    for tap in range(depth.kernel):
        part = _every(padded, tap * depth.dilation, depth.stride, call.shape[2])
        best = part if best is None else gen_math_ops.maximum(best, part)
    return _volume(best, call.shape)


def average_pool(call: Call, lower: Lower) -> Value:
    """The means of each slice, then of the slices in the window that count."""
    a = call.read(**WINDOW, ceil_mode=0, count_include_pad=0)
    y, depth, n = _pooled_slices(call, lower, a)
    padded = _padded(y, depth.before, _behind(depth, n, call.shape[2]), 0)
    total = None
    for tap in range(depth.kernel):
        part = _every(padded, tap * depth.dilation, depth.stride, call.shape[2])
        total = part if total is None else gen_math_ops.add_v2(total, part)
    low, high = (depth.before, depth.after) if a.count_include_pad else (0, 0)
    at = np.arange(call.shape[2])[:, None] * depth.stride - depth.before
    at = at + np.arange(depth.kernel) * depth.dilation
    counts = ((at >= -low) & (at < n + high)).sum(1).astype(np.float32)
    return _volume(gen_math_ops.mul(total, constant((1 / counts)[None, :, None])), call.shape)


WINDOW: dict[str, Any] = {
    "auto_pad": "NOTSET",
    "dilations": None,
    "kernel_shape": None,
    "pads": None,
    "strides": None,
}


def _pooled_slices(call: Call, lower: Lower, a: Any) -> tuple[Tensor, DepthWindow, int]:
    shape = call.value().shape
    depth, flat = _split(call, read_window(call, a, tuple(a.kernel_shape), shape[2:]))
    result = (*call.shape[:2], shape[2], *call.shape[3:])
    return _lowered(flat, lower, _slices(call), shape, (), result), depth, shape[2]


def _behind(depth: DepthWindow, size: int, results: int) -> int:
    """The padding that the last window needs: in ceil mode more than the node says."""
    reach = (depth.kernel - 1) * depth.dilation + 1
    return max((results - 1) * depth.stride + reach - size - depth.before, 0)


def _slices(call: Call) -> Tensor:
    """The input as (N, D, H * W * C)."""
    n, channels, size, high, wide = call.value().shape
    x = as_tensor(call.arrange(call.value(), NDHWC))
    return gen_array_ops.reshape(x, np.array([n, size, high * wide * channels], np.int32))


def _lowered(
    call: Call,
    lower: Lower,
    x: Tensor,
    shape: Shape,
    others: tuple[Value | None, ...],
    after: Shape,
) -> Tensor:
    """Slices (N, D, H * W * C) through an operation on maps, as (N, D, H * W * C) again."""
    n, count = int(x.shape[0]), int(x.shape[1])
    _, channels, _, high, wide = shape
    maps = gen_array_ops.reshape(x, np.array([n * count, high, wide, channels], np.int32))
    flat = replace(
        call,
        inputs=(Value(maps, channels_last(4)), *others),
        results=((n * count, after[1], *after[3:]),),
    )
    y = as_tensor(call.arrange(lower(flat), channels_last(4)))
    return gen_array_ops.reshape(y, np.array([n, count, after[1] * after[3] * after[4]], np.int32))


def _padded(x: Tensor, before: int, after: int, fill: float) -> Tensor:
    if before == after == 0:
        return x
    pads = np.array([(0, 0), (before, after), (0, 0)], np.int32)
    if fill == 0:
        return gen_array_ops.pad(x, pads)
    return gen_array_ops.pad_v2(x, pads, constant(np.float32(fill)))


def _every(x: Tensor, start: int, step: int, count: int) -> Tensor:
    """So many slices from one on, every n-th."""
    n, size, wide = (int(n) for n in x.shape)
    if (start, step, count) == (0, 1, size):
        return x
    end = [n, start + (count - 1) * step + 1, wide]
    return gen_array_ops.strided_slice(x, [0, start, 0], end, [1, step, 1])


def _spread(x: Tensor, n: int, size: int, stride: int, before: int, wide: int) -> Tensor:
    """Slices `stride` apart from `before` on, among `wide` of which the others are zero."""
    width = int(x.shape[2])
    if stride > 1:
        x = gen_array_ops.reshape(x, np.array([n * size, 1, width], np.int32))
        x = gen_array_ops.pad(x, np.array([(0, 0), (0, stride - 1), (0, 0)], np.int32))
        x = gen_array_ops.reshape(x, np.array([n, size * stride, width], np.int32))
    behind = wide - before - size * stride
    if behind < 0:
        x = _every(x, 0, 1, size * stride + behind)
    return _padded(x, before, max(behind, 0), 0)


def _volume(x: Tensor, shape: Shape) -> Value:
    sizes = np.array([shape[axis] for axis in NDHWC], np.int32)
    return Value(gen_array_ops.reshape(x, sizes), NDHWC)
