"""Activations, in the operations that both formats run without extra libraries."""

from __future__ import annotations

import math

import numpy as np

from converters.lowering.call import Call
from converters.lowering.elementwise import together
from converters.lowering.tf import Tensor, constant, gen_array_ops, gen_math_ops, gen_nn_ops
from converters.lowering.value import Value, as_tensor

add, mul = gen_math_ops.add_v2, gen_math_ops.mul


def number(value: float | np.ndarray) -> Tensor:
    return constant(np.asarray(value, np.float32))


def leaky_relu(call: Call) -> Value:
    a = call.read(alpha=0.01)
    return _like(call, gen_nn_ops.leaky_relu(_x(call), alpha=a.alpha))


def prelu(call: Call) -> Value:
    """PRelu: relu(x) - slope * relu(-x), which TFLite's converter knows as one operation."""
    call.read()
    (x, minus), order = together(call, [call.value(), _negated(call.value(1))])
    negative = gen_nn_ops.relu(gen_math_ops.neg(x))
    return Value(add(gen_nn_ops.relu(x), mul(minus, negative)), order)


def elu(call: Call) -> Value:
    a = call.read(alpha=1.0)
    return _like(call, _elu(_x(call), a.alpha))


def selu(call: Call) -> Value:
    a = call.read(alpha=1.6732632423543772, gamma=1.0507009873554805)
    return _like(call, mul(_elu(_x(call), a.alpha), number(a.gamma)))


def celu(call: Call) -> Value:
    """Celu: alpha * elu(x / alpha)."""
    a = call.read(alpha=1.0)
    x = mul(_x(call), number(1 / a.alpha))
    return _like(call, mul(gen_nn_ops.elu(x), number(a.alpha)))


def hard_sigmoid(call: Call) -> Value:
    """HardSigmoid: alpha * min(max(x, -beta / alpha) + beta / alpha, 1 / alpha).

    The lower bound comes first, so that TFLite's converter takes alpha and beta into no layer:
    float16 would round those products and sums again.
    """
    a = call.read(alpha=0.2, beta=0.5)
    if a.alpha <= 0:
        line = add(mul(_x(call), number(a.alpha)), number(a.beta))
        return _like(call, gen_math_ops.minimum(gen_nn_ops.relu(line), number(1)))
    shift, most = a.beta / a.alpha, 1 / a.alpha
    line = add(gen_math_ops.maximum(_x(call), number(-shift)), number(shift))
    if math.isclose(most, 6, rel_tol=1e-6):
        bounded = gen_nn_ops.relu6(line)  # a part of the addition in TFLite
    else:
        bounded = gen_math_ops.minimum(line, number(most))
    return _like(call, mul(bounded, number(a.alpha)))


def hard_swish(call: Call) -> Value:
    """HardSwish: x * (relu6(x + 3) / 6), so that no layer behind takes the 6 into its numbers.

    TFLite's converter makes one operation of this.
    """
    call.read()
    x = _x(call)
    return _like(call, mul(x, mul(gen_nn_ops.relu6(add(x, number(3))), number(1 / 6))))


def softplus(call: Call) -> Value:
    """Softplus: relu(x) + log(1 + exp(-|x|)), which does not overflow."""
    call.read()
    x = _x(call)
    small = gen_math_ops.exp(gen_math_ops.neg(gen_math_ops._abs(x)))
    return _like(call, add(gen_nn_ops.relu(x), gen_math_ops.log(add(small, number(1)))))


def softsign(call: Call) -> Value:
    call.read()
    x = _x(call)
    return _like(call, gen_math_ops.real_div(x, add(gen_math_ops._abs(x), number(1))))


def swish(call: Call) -> Value:
    """Swish: x * sigmoid(alpha * x)."""
    a = call.read(alpha=1.0)
    x = _x(call)
    inner = x if a.alpha == 1 else mul(x, number(a.alpha))
    return _like(call, mul(x, gen_math_ops.sigmoid(inner)))


def mish(call: Call) -> Value:
    """Mish: x * tanh(log(1 + e)) = x * n / (n + 2), where e = exp(x) and n = e * (e + 2).

    Above 20 the quotient is 1 in float32, so that e is held there and does not overflow.
    """
    call.read()
    x = _x(call)
    e = gen_math_ops.exp(gen_math_ops.minimum(x, number(20)))
    n = mul(e, add(e, number(2)))
    return _like(call, mul(x, gen_math_ops.real_div(n, add(n, number(2)))))


def thresholded_relu(call: Call) -> Value:
    """ThresholdedRelu: x where x > alpha, else 0."""
    a = call.read(alpha=1.0)
    x = _x(call)
    above = gen_math_ops.greater(x, number(a.alpha))
    return _like(call, gen_math_ops.select_v2(above, x, number(0)))


GELU_CARRIER = "Erf"
"""TFLite has no such operation, and no other lowering emits it."""


def gelu(call: Call) -> Value:
    """Gelu: x / 2 * (1 + erf(x / sqrt(2))), or with the tanh that approximates it.

    TFLite has the first as one operation, which TensorFlow has not: GELU_CARRIER stands for it
    until the file is stored (`converters.tflite.store`).
    """
    a = call.read(approximate="none")
    x = _x(call)
    if a.approximate == "none" and call.target == "tflite":
        return _like(call, gen_math_ops.erf(x))
    if a.approximate == "tanh":
        cubic = mul(mul(gen_math_ops.square(x), x), number(0.044715))
        inner = gen_math_ops.tanh(mul(add(x, cubic), number(np.sqrt(2 / np.pi))))
    elif a.approximate == "none":
        inner = _erf(mul(x, number(np.sqrt(0.5))))
    else:
        raise call.refuse(f"approximate '{a.approximate}' is not known")
    return _like(call, mul(mul(x, number(0.5)), add(inner, number(1))))


def fake_quantize(call: Call) -> Value:
    """The nearest of the 256 numbers from `low` to `high`.

    No operation of ONNX: the rewrite fuse-fake-quantize puts it in the place of two.
    """
    a = call.read(low=0.0, high=0.0)
    x = gen_array_ops.fake_quant_with_min_max_args(_x(call), min=a.low, max=a.high)
    return _like(call, x)


def erf(call: Call) -> Value:
    call.read()
    return _like(call, _erf(_x(call)))


ERF_ABOVE = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
ERF_BELOW = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)


def _erf(x: Tensor) -> Tensor:
    """erf as x * above(x * x) / below(x * x), held to |x| <= 4 where it is 1 in float32.

    The coefficients are Eigen's for float32; TensorFlow's Erf would need Flex in TFLite.
    """
    x = gen_math_ops.maximum(gen_math_ops.minimum(x, number(4)), number(-4))
    square = mul(x, x)
    return gen_math_ops.real_div(
        mul(x, _polynomial(square, ERF_ABOVE)), _polynomial(square, ERF_BELOW)
    )


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """By Horner's rule, the highest power first."""
    result = number(coefficients[0])
    for coefficient in coefficients[1:]:
        result = add(mul(result, x), number(coefficient))
    return result


def _elu(x: Tensor, alpha: float) -> Tensor:
    if alpha == 1:
        return gen_nn_ops.elu(x)
    # TensorFlow's elu has no alpha: only what is below 0 is to be multiplied by it.
    below = gen_nn_ops.elu(gen_math_ops.minimum(x, number(0)))
    return add(gen_nn_ops.relu(x), mul(below, number(alpha)))


def _negated(value: Value) -> Value:
    tensor = value.tensor
    return Value(-tensor if value.is_constant else gen_math_ops.neg(tensor), value.order)


def _x(call: Call) -> Tensor:
    return as_tensor(call.value())


def _like(call: Call, tensor: Tensor) -> Value:
    """A result in the order of the first input."""
    return Value(tensor, call.value().order)
