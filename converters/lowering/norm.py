"""Normalisations."""

from __future__ import annotations

import numpy as np

from converters.lowering.activation import add, mul, number
from converters.lowering.call import Call
from converters.lowering.elementwise import together
from converters.lowering.tf import Tensor, gen_math_ops
from converters.lowering.value import Value, as_tensor


def batch_normalization(call: Call) -> Value:
    """BatchNormalization in inference: one factor and one summand per channel."""
    a = call.read(epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1)
    if a.training_mode or len(call.results) > 1:
        raise call.refuse("training mode", do="call eval() before exporting")
    scale, bias, mean, variance = (
        call.constant(i, noun).astype(np.float64)
        for i, noun in enumerate(("scale", "bias", "mean", "variance"), 1)
    )
    factor = scale / np.sqrt(variance + a.epsilon)
    return _scaled(call, call.value(), factor, bias - mean * factor)


def instance_normalization(call: Call) -> Value:
    a = call.read(epsilon=1e-5)
    value = call.value()
    axes = tuple(range(2, value.rank))
    normal = Value(_normalized(value, axes, a.epsilon), value.order)
    return _scaled(call, normal, call.constant(1, "scale"), call.constant(2, "bias"))


def layer_normalization(call: Call) -> Value:
    """LayerNormalization over the last axes, in whatever order they are stored."""
    a = call.read(axis=-1, epsilon=1e-5, stash_type=1)
    if len(call.results) > 1:
        raise call.refuse("the mean and deviation as results")
    value = call.value()
    axes = tuple(range(a.axis % value.rank, value.rank))
    (x, scale), order = together(
        call, [Value(_normalized(value, axes, a.epsilon), value.order), call.value(1)]
    )
    result = Value(mul(x, scale), order)
    if not call.has(2):
        return result
    (x, bias), order = together(call, [result, call.value(2)])
    return Value(add(x, bias), order)


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
    """(x - mean) / sqrt(variance + epsilon), the variance from centred values."""
    places = np.array(sorted(value.axis(axis) for axis in axes), np.int32)
    x = as_tensor(value)
    centred = gen_math_ops.sub(x, gen_math_ops.mean(x, places, keep_dims=True))
    variance = gen_math_ops.mean(gen_math_ops.square(centred), places, keep_dims=True)
    return mul(centred, gen_math_ops.rsqrt(add(variance, number(epsilon))))


def l2_normalization(call: Call) -> Value:
    """LpNormalization with p = 2."""
    a = call.read(axis=-1, p=2)
    if a.p != 2:
        raise call.refuse(f"p = {a.p}", do="divide by the sum of absolute values instead")
    value = call.value()
    place = np.array([value.axis(a.axis)], np.int32)
    x = as_tensor(value)
    total = gen_math_ops._sum(gen_math_ops.square(x), place, keep_dims=True)
    return Value(gen_math_ops.real_div(x, gen_math_ops.sqrt(total)), value.order)
