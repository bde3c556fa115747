"""Operations of one number, or of two at the same place."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.files.onnx.call import Function, Implementation, Layer, NodeCall, NodeOperation

TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float32,
    11: torch.float32,
    16: torch.float32,
}
"""ONNX's types by number; float16, float64 and bfloat16 are float32 here."""


def unary(function: Function) -> Implementation:
    """An operation without settings."""

    def made(call: NodeCall) -> Layer:
        call.read()
        return call.apply(function, 0)

    return made


def layer(kind: type[nn.Module]) -> Implementation:
    """An operation that PyTorch has as a module without settings."""

    def made(call: NodeCall) -> Layer:
        call.read()
        return Layer(kind(), (0,))

    return made


def binary(function: Function) -> Implementation:
    """An operation of two; a constant of one number is written as a number."""

    def made(call: NodeCall) -> Layer:
        call.read(axis=None, broadcast=None)
        for index in (0, 1):
            other = call.value(1 - index)
            if index in call.constants and _is_number(call.value(index), other):
                number = call.value(index).item()
                if isinstance(number, float) and not math.isfinite(number):
                    continue
                if index == 0:
                    whole = functools.partial(_with_left, function, number)
                else:
                    whole = functools.partial(_with_right, function, number)
                return Layer(NodeOperation(call.node.op, whole), (1 - index,))
        return call.apply(function, 0, 1)

    return made


def _is_number(value: Tensor, other: Tensor) -> bool:
    """Whether the value broadcasts as a number does, and has the type that a number takes."""
    plain = value.dtype in (torch.float32, torch.int64, torch.int32) and value.dtype == other.dtype
    return plain and value.numel() == 1 and value.ndim <= other.ndim


def _with_left(function: Function, left: float, right: Tensor) -> Any:
    return function(left, right)


def _with_right(function: Function, right: float, left: Tensor) -> Any:
    return function(left, right)


def divide(left: Any, right: Any) -> Any:
    """Integers are divided towards zero, as C does it."""
    tensor = left if isinstance(left, Tensor) else right
    if tensor.is_floating_point():
        return left / right
    left = torch.as_tensor(left, dtype=tensor.dtype)
    return torch.div(left, right, rounding_mode="trunc")


def power(call: NodeCall) -> Layer:
    """The result has the base's type; a constant exponent of one number is a number."""
    call.read()
    base, exponent = call.value(0), call.value(1)
    if 1 in call.constants and exponent.numel() == 1 and exponent.ndim <= base.ndim:
        number = exponent.item()
        if base.is_floating_point():
            return call.apply(_powered, 0, exponent=float(number))
    return call.apply(_power, 0, 1)


def _powered(base: Tensor, exponent: float) -> Tensor:
    return torch.pow(base, exponent)


def _power(base: Tensor, exponent: Tensor) -> Tensor:
    return torch.pow(base, exponent).to(base.dtype)


def modulo(call: NodeCall) -> Layer:
    """fmod 0: the divisor's sign; 1: the dividend's."""
    read = call.read(fmod=0)
    return call.apply(torch.fmod if read.fmod else torch.remainder, 0, 1)


def folded(function: Function) -> Implementation:
    """An operation of any number of inputs, from the left."""

    def made(call: NodeCall) -> Layer:
        call.read()
        return call.apply(functools.partial(_fold, function))

    return made


def _fold(function: Function, *operands: Tensor) -> Any:
    return functools.reduce(function, operands)


def mean(call: NodeCall) -> Layer:
    call.read()
    return call.apply(_mean)


def _mean(*operands: Tensor) -> Tensor:
    total: Tensor = functools.reduce(operator.add, operands)
    return total / len(operands)


def where(call: NodeCall) -> Layer:
    call.read()
    return call.apply(torch.where, 0, 1, 2)


def cast(call: NodeCall) -> Layer:
    read = call.read(to=None, saturate=1, round_mode="up")
    if read.to not in TYPES:
        raise call.refuse(f"to type {read.to}")
    return call.apply(_cast, 0, dtype=TYPES[read.to])


def cast_like(call: NodeCall) -> Layer:
    call.read(saturate=1, round_mode="up")
    return call.apply(_cast, 0, dtype=call.value(1).dtype)


def _cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype)


def clip(call: NodeCall) -> Layer:
    read = call.read(min=None, max=None)
    known = call.is_constant(1, 2)
    if not known:
        return call.apply(_clip_by, *(i for i in range(3) if call.has(i)), has_low=call.has(1))
    low = call.number(1, "minimum", read.min)
    high = call.number(2, "maximum", read.max)
    if (low, high) == (0.0, 6.0) and call.value().is_floating_point():
        return Layer(nn.ReLU6(), (0,))
    if low is None and high is None:
        return call.apply(identity, 0)
    if low is not None and high is not None and low > high:
        low = high  # as ONNX has it: the maximum wins
    return call.apply(torch.clamp, 0, min=low, max=high)


def _clip_by(value: Tensor, *bounds: Tensor, has_low: bool) -> Tensor:
    if has_low:
        value = torch.maximum(value, bounds[0])
    return torch.minimum(value, bounds[-1]) if len(bounds) == 2 or not has_low else value


def identity(value: Tensor) -> Tensor:
    return value


def is_infinite(call: NodeCall) -> Layer:
    read = call.read(detect_negative=1, detect_positive=1)
    return call.apply(
        _is_infinite, 0, below=bool(read.detect_negative), above=bool(read.detect_positive)
    )


def _is_infinite(value: Tensor, below: bool, above: bool) -> Tensor:
    if below and above:
        return torch.isinf(value)
    if not below and not above:
        return torch.zeros_like(value, dtype=torch.bool)
    return value == (math.inf if above else -math.inf)


def gelu(call: NodeCall) -> Layer:
    read = call.read(approximate="none")
    return Layer(nn.GELU(read.approximate), (0,))


def elu(call: NodeCall) -> Layer:
    return Layer(nn.ELU(call.read(alpha=1.0).alpha), (0,))


def celu(call: NodeCall) -> Layer:
    return Layer(nn.CELU(call.read(alpha=1.0).alpha), (0,))


def selu(call: NodeCall) -> Layer:
    read = call.read(alpha=1.6732632, gamma=1.0507010)
    if math.isclose(read.alpha, 1.6732632, rel_tol=1e-6) and math.isclose(
        read.gamma, 1.050701, rel_tol=1e-6
    ):
        return Layer(nn.SELU(), (0,))
    return call.apply(_selu, 0, alpha=read.alpha, gamma=read.gamma)


def _selu(value: Tensor, alpha: float, gamma: float) -> Tensor:
    return gamma * F.elu(value, alpha)


def hard_sigmoid(call: NodeCall) -> Layer:
    read = call.read(alpha=0.2, beta=0.5)
    if math.isclose(read.alpha, 1 / 6, rel_tol=1e-6) and read.beta == 0.5:
        return Layer(nn.Hardsigmoid(), (0,))
    return call.apply(_hard_sigmoid, 0, alpha=read.alpha, beta=read.beta)


def _hard_sigmoid(value: Tensor, alpha: float, beta: float) -> Tensor:
    return torch.clamp(value * alpha + beta, 0, 1)


def leaky_relu(call: NodeCall) -> Layer:
    return Layer(nn.LeakyReLU(call.read(alpha=0.01).alpha), (0,))


def thresholded_relu(call: NodeCall) -> Layer:
    return Layer(nn.Threshold(call.read(alpha=1.0).alpha, 0.0), (0,))


def shrink(call: NodeCall) -> Layer:
    read = call.read(lambd=0.5, bias=0.0)
    return call.apply(_shrink, 0, lambd=read.lambd, bias=read.bias)


def _shrink(value: Tensor, lambd: float, bias: float) -> Tensor:
    outside = torch.where(value < -lambd, value + bias, value - bias)
    return torch.where(value.abs() > lambd, outside, torch.zeros_like(value))


def swish(call: NodeCall) -> Layer:
    read = call.read(alpha=1.0)
    return Layer(nn.SiLU(), (0,)) if read.alpha == 1 else call.apply(_swish, 0, alpha=read.alpha)


def _swish(value: Tensor, alpha: float) -> Tensor:
    return value * torch.sigmoid(alpha * value)


def prelu(call: NodeCall) -> Layer:
    """A slope for all, or for each channel, is PyTorch's own; any other is written out."""
    call.read()
    value, slope = call.value(0), call.value(1)
    by_channel = (
        1 in call.constants
        and value.ndim >= 2
        and (slope.numel() == 1 or tuple(slope.shape) == (value.shape[1], *(1,) * (value.ndim - 2)))
    )
    if not by_channel:
        return call.apply(_prelu, 0, 1)
    module = nn.PReLU(slope.numel())
    module.weight = nn.Parameter(slope.reshape(-1).clone())
    return Layer(module, (0,), (1,))


def _prelu(value: Tensor, slope: Tensor) -> Tensor:
    return torch.where(value < 0, slope * value, value)


def softmax(call: NodeCall) -> Layer:
    return _softmax(call, nn.Softmax, F.softmax)


def log_softmax(call: NodeCall) -> Layer:
    return _softmax(call, nn.LogSoftmax, F.log_softmax)


def _softmax(call: NodeCall, kind: Any, function: Function) -> Layer:
    """Before version 13 over all axes from one on, 1 if it is not said; since then over one."""
    old = call.opset < 13
    axis = call.axis(call.read(axis=1 if old else -1).axis)
    if not old or axis == call.rank() - 1:
        return Layer(kind(dim=axis), (0,))
    return call.apply(_flat, 0, function=function, axis=axis)


def _flat(value: Tensor, function: Function, axis: int) -> Tensor:
    return function(value.flatten(axis), dim=axis).reshape(value.shape)


def hardmax(call: NodeCall) -> Layer:
    old = call.opset < 13
    axis = call.axis(call.read(axis=1 if old else -1).axis)
    if old and axis != call.rank() - 1:
        return call.apply(_flat, 0, function=_hardmax, axis=axis)
    return call.apply(_hardmax, 0, dim=axis)


def _hardmax(value: Tensor, dim: int) -> Tensor:
    places = torch.arange(value.shape[dim]).reshape(-1, *(1,) * (value.ndim - 1 - dim % value.ndim))
    return (places == value.argmax(dim, keepdim=True)).to(value.dtype)
