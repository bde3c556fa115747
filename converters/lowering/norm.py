"""Normalisations."""

from __future__ import annotations

import numpy as np

from converters.lowering.activation import add, mul, number
from converters.lowering.call import Call, nhwc
from converters.lowering.elementwise import together
from converters.lowering.tf import Tensor, gen_array_ops, gen_math_ops
from converters.lowering.value import Value, as_tensor, channels_last, reshaped


def batch_normalization(call: Call) -> Value:
    """BatchNormalization in inference: one factor and one summand per channel."""
    a = call.read(epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1)
    if a.training_mode or len(call.results) > 1:
        raise call.refuse("training mode", do="call eval() before exporting")
    scale, bias, mean, variance = (
        call.constant(i, noun).astype(np.float64)
        for i, noun in enumerate(("scale", "bias", "mean", "variance"), 1)
    )
    # In float64, so that both numbers are rounded once, when they are stored.
    factor = scale / np.sqrt(variance + a.epsilon)
    return _scaled(call, call.value(), factor, bias - mean * factor)


def instance_normalization(call: Call) -> Value:
    a = call.read(epsilon=1e-5)
    value = call.value()
    axes = tuple(range(2, value.rank))
    normal = Value(_normalized(value, axes, a.epsilon), value.order)
    return _scaled(call, normal, call.constant(1, "scale"), call.constant(2, "bias"))


def group_normalization(call: Call) -> Value:
    """GroupNormalization, its factors per channel (opset 21) or per group (opset 18).

    Moments are taken of each channel first, over the positions, which is how the map lies in
    memory; those of a group are the means of its channels'.
    """
    a = call.read(epsilon=1e-5, num_groups=None, stash_type=1)
    n, channels, *spatial = call.shape
    flat = reshaped(call.value(), (n, channels, int(np.prod(spatial)), 1))
    x = as_tensor(call.arrange(flat, channels_last(4)))
    scale, bias = call.constant(1, "scale"), call.constant(2, "bias")
    # With a group for each channel both readings are the same.
    if scale.size == a.num_groups:
        scale, bias = (v.repeat(channels // a.num_groups) for v in (scale, bias))
    centred = gen_math_ops.sub(x, _group_means(x, a.num_groups))
    variance = _group_means(gen_math_ops.square(centred), a.num_groups)
    inverse = gen_math_ops.rsqrt(add(variance, number(a.epsilon)))
    result = add(mul(centred, mul(inverse, number(scale))), number(bias))
    return reshaped(nhwc(result), call.shape)


def _group_means(x: Tensor, groups: int) -> Tensor:
    """(N, H, W, C) -> (N, 1, 1, C), or 1 where there is one group: the mean of its group."""
    if groups == 1:
        return gen_math_ops.mean(x, np.array([1, 2, 3], np.int32), keep_dims=True)
    n, _, _, channels = (int(size) for size in x.shape)
    each = gen_math_ops.mean(x, np.array([1, 2], np.int32), keep_dims=True)
    grouped = gen_array_ops.reshape(each, np.array([n, 1, groups, channels // groups], np.int32))
    means = gen_math_ops.mean(grouped, np.array([3], np.int32), keep_dims=True)
    # A product with ones copies by broadcasting, which XNNPACK runs; TILE it leaves to LiteRT.
    copies = mul(means, number(np.ones((1, 1, 1, channels // groups))))
    return gen_array_ops.reshape(copies, np.array([n, 1, 1, channels], np.int32))


def layer_normalization(call: Call) -> tuple[Value, ...]:
    """LayerNormalization over the last axes, in whatever order they are stored.

    The mean and the inverse deviation are further results, where they are asked for.
    """
    a = call.read(axis=-1, epsilon=1e-5, stash_type=1)
    value = call.value()
    axes = tuple(range(a.axis % value.rank, value.rank))
    mean, centred, inverse = _moments(value, axes, a.epsilon)
    (x, scale), order = together(call, [Value(mul(centred, inverse), value.order), call.value(1)])
    result = Value(mul(x, scale), order)
    if call.has(2):
        (x, bias), order = together(call, [result, call.value(2)])
        result = Value(add(x, bias), order)
    return (result, Value(mean, value.order), Value(inverse, value.order))[: len(call.results)]


def rms_normalization(call: Call) -> Value:
    """RMSNormalization over the last axes: x / sqrt(mean(x x) + epsilon) * scale."""
    a = call.read(axis=-1, epsilon=1e-5, stash_type=1)
    value = call.value()
    axes = range(a.axis % value.rank, value.rank)
    places = np.array(sorted(value.axis(axis) for axis in axes), np.int32)
    x = as_tensor(value)
    squares = gen_math_ops.mean(gen_math_ops.square(x), places, keep_dims=True)
    normal = mul(x, gen_math_ops.rsqrt(add(squares, number(a.epsilon))))
    (y, scale), order = together(call, [Value(normal, value.order), call.value(1)])
    return Value(mul(y, scale), order)


def mean_variance_normalization(call: Call) -> Value:
    """MeanVarianceNormalization, with the epsilon of ONNX's own definition."""
    a = call.read(axes=(0, 2, 3))
    value = call.value()
    return Value(_normalized(value, tuple(a.axes), 1e-9), value.order)


def local_response_normalization(call: Call) -> Value:
    """LRN: x / (bias + alpha / size * s) ** beta, s the squares of `size` channels around."""
    a = call.read(alpha=1e-4, beta=0.75, bias=1.0, size=None)
    x = call.nhwc()
    before = (a.size - 1) // 2
    widths = [(0, 0), (0, 0), (0, 0), (before, a.size - 1 - before)]
    # TensorFlow's LRN has windows of 2 * radius + 1 channels, ONNX's may be even, with the odd
    # channel behind.
    squares = gen_array_ops.pad(gen_math_ops.square(x), np.array(widths, np.int32))
    total = None
    for first in range(a.size):
        part = gen_array_ops._slice(squares, [0, 0, 0, first], x.shape)
        total = part if total is None else add(total, part)
    scale = add(mul(total, number(a.alpha / a.size)), number(a.bias))
    return nhwc(mul(x, gen_math_ops._pow(scale, number(-a.beta))))


def _scaled(call: Call, value: Value, factor: np.ndarray, summand: np.ndarray) -> Value:
    """x * factor + summand, one number per channel each."""
    shape = (1, -1) + (1,) * (value.rank - 2)
    result = value
    for emit, vector in ((mul, factor), (add, summand)):
        per_channel = Value.of(vector.astype(np.float32).reshape(shape))
        (x, y), order = together(call, [result, per_channel])
        result = Value(emit(x, y), order)
    return result


def _normalized(value: Value, axes: tuple[int, ...], epsilon: float) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon)."""
    _, centred, inverse = _moments(value, axes, epsilon)
    return mul(centred, inverse)


def _moments(value: Value, axes: tuple[int, ...], epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """The mean, x - mean, and 1 / sqrt(variance + epsilon), the variance from centred values."""
    places = np.array(sorted(value.axis(axis) for axis in axes), np.int32)
    x = as_tensor(value)
    mean = gen_math_ops.mean(x, places, keep_dims=True)
    # The mean of the squares less the square of the mean would cancel where the mean is large.
    centred = gen_math_ops.sub(x, mean)
    variance = gen_math_ops.mean(gen_math_ops.square(centred), places, keep_dims=True)
    return mean, centred, gen_math_ops.rsqrt(add(variance, number(epsilon)))


def lp_normalization(call: Call) -> Value:
    """LpNormalization, p = 1 or 2."""
    a = call.read(axis=-1, p=2)
    value = call.value()
    place = np.array([value.axis(a.axis)], np.int32)
    x = as_tensor(value)
    sizes = gen_math_ops.square(x) if a.p == 2 else gen_math_ops._abs(x)
    total = gen_math_ops._sum(sizes, place, keep_dims=True)
    norm = gen_math_ops.sqrt(total) if a.p == 2 else total
    return Value(gen_math_ops.real_div(x, norm), value.order)
