"""Pools: maxima and means over windows or over the whole map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np

from converters.lowering import volumes
from converters.lowering.call import Call, nhwc
from converters.lowering.graph import Shape
from converters.lowering.tf import Tensor, constant, gen_array_ops, gen_math_ops, gen_nn_ops
from converters.lowering.value import Value, as_tensor
from converters.lowering.window import Window, in_two_dimensions, read_window

Reduction = Callable[..., Tensor]


def max_pool(call: Call) -> Value:
    """MaxPool, also in ceil mode and dilated."""
    if call.value().rank == 5:
        return volumes.max_pool(call, _max_pool)
    return in_two_dimensions(call, _max_pool)


def average_pool(call: Call) -> Value:
    """AveragePool, also in ceil mode, and with or without its padding in the mean."""
    if call.value().rank == 5:
        return volumes.average_pool(call, _average_pool)
    return in_two_dimensions(call, _average_pool)


def global_average_pool(call: Call) -> Value:
    return _global(call, gen_math_ops.mean)


def global_max_pool(call: Call) -> Value:
    return _global(call, gen_math_ops._max)


def _global(call: Call, reduction: Reduction) -> Value:
    call.read()
    value = call.value()
    axes = sorted(value.axis(axis) for axis in range(2, value.rank))
    return replace(
        value, tensor=reduction(as_tensor(value), np.array(axes, np.int32), keep_dims=True)
    )


def _max_pool(call: Call) -> Value:
    a = call.read(
        auto_pad="NOTSET",
        ceil_mode=0,
        dilations=None,
        kernel_shape=None,
        pads=None,
        storage_order=0,
        strides=None,
    )
    if len(call.results) > 1:
        raise call.refuse("the places of its maxima", do="use MaxPool2d(return_indices=False)")
    window, spatial = _window(call, a), call.value().shape[2:]
    if max(window.dilations) > 1:
        x = _bordered(call.nhwc(), window, -np.inf)
        return nhwc(_dilated(gen_math_ops.maximum, x, window, call.shape))
    # SAME pads within the pool. Minus infinity needs a PadV2 before it: one more pass over the map,
    # which XNNPACK leaves to LiteRT.
    if window.is_same(spatial):
        return nhwc(_pooled(gen_nn_ops.max_pool, call.nhwc(), window, "SAME"))
    x = _bordered(call.nhwc(), window, -np.inf)
    return nhwc(_pooled(gen_nn_ops.max_pool, x, window, "VALID"))


def _average_pool(call: Call) -> Value:
    a = call.read(
        auto_pad="NOTSET",
        ceil_mode=0,
        count_include_pad=0,
        dilations=None,
        kernel_shape=None,
        pads=None,
        strides=None,
    )
    window, spatial = _window(call, a), call.value().shape[2:]
    # TensorFlow's SAME leaves its padding out of the mean.
    is_dilated = max(window.dilations) > 1
    if window.is_same(spatial) and not (a.count_include_pad or is_dilated):
        return nhwc(_pooled(gen_nn_ops.avg_pool, call.nhwc(), window, "SAME"))
    # VALID divides each sum by the whole kernel: `share` makes up for what does not count. What
    # ceil mode adds behind never does.
    x = _bordered(call.nhwc(), window, 0.0)
    counted = read_window(call, a, window.kernel, spatial).pads if a.count_include_pad else None
    counts = _counts(spatial, call.shape[2:], window, counted)
    if is_dilated:
        y, share = _dilated(gen_math_ops.add_v2, x, window, call.shape), 1 / counts
    else:
        y = _pooled(gen_nn_ops.avg_pool, x, window, "VALID")
        share = np.prod(window.kernel) / counts
    if (share == 1).all():
        return nhwc(y)
    return nhwc(gen_math_ops.mul(y, constant(share[None, :, :, None].astype(np.float32))))


def _window(call: Call, a: SimpleNamespace) -> Window:
    """The window, padded behind by what its last position needs: more than it says in ceil mode."""
    spatial = call.value().shape[2:]
    window = read_window(call, a, tuple(a.kernel_shape), spatial)
    behind = (
        max((out - 1) * stride + reach - n - before, 0)
        for out, stride, reach, n, (before, _) in zip(
            call.shape[2:], window.strides, window.reach, spatial, window.pads, strict=True
        )
    )
    pads = tuple((before, b) for (before, _), b in zip(window.pads, behind, strict=True))
    return replace(window, pads=pads)


def _bordered(x: Tensor, window: Window, fill: float) -> Tensor:
    if window.is_valid:
        return x
    pads = np.array([(0, 0), *window.pads, (0, 0)], np.int32)
    if fill == 0:
        return gen_array_ops.pad(x, pads)
    return gen_array_ops.pad_v2(x, pads, constant(np.float32(fill)))


def _pooled(pool: Reduction, x: Tensor, window: Window, padding: str) -> Tensor:
    return pool(x, ksize=[1, *window.kernel, 1], strides=[1, *window.strides, 1], padding=padding)


def _dilated(combine: Reduction, x: Tensor, window: Window, shape: Shape) -> Tensor:
    """One strided slice for each element of the window, all of them combined."""
    _, _, height, width = shape
    down, right = window.strides
    # TensorFlow's pools have no dilation. 9 is bits 0 and 3: all of the batch and channels.
    result = None
    for i, j in product(*map(range, window.kernel)):
        top, left = i * window.dilations[0], j * window.dilations[1]
        end = [0, top + (height - 1) * down + 1, left + (width - 1) * right + 1, 0]
        part = gen_array_ops.strided_slice(
            x, [0, top, left, 0], end, [1, down, right, 1], begin_mask=9, end_mask=9
        )
        result = part if result is None else combine(result, part)
    return result


def _counts(
    spatial: Shape, results: Shape, window: Window, pads: tuple[tuple[int, int], ...] | None
) -> np.ndarray:
    """How many elements each window's mean is over: those within the input and `pads`."""
    along = []
    for axis, (n, out) in enumerate(zip(spatial, results, strict=True)):
        low, high = pads[axis] if pads else (0, 0)
        start = np.arange(out)[:, None] * window.strides[axis] - window.pads[axis][0]
        at = start + np.arange(window.kernel[axis]) * window.dilations[axis]
        along.append(((at >= -low) & (at < n + high)).sum(1))
    return np.multiply.outer(*along)
