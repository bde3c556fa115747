"""Activations, arithmetic, comparison and casts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from converters.mil.ops.signature import Op, binary, channelwise, integral, unary
from model_defs.errors import UnsupportedOperation


def clip(x: Tensor, alpha: float, beta: float) -> Tensor:
    return x.clamp(alpha, beta)


def threshold(x: Tensor, alpha: Tensor) -> Tensor:
    return torch.maximum(x, alpha)


def leaky_relu(x: Tensor, alpha: float) -> Tensor:
    return F.leaky_relu(x, alpha)


def prelu(x: Tensor, alpha: Tensor) -> Tensor:
    """`alpha` has one slope per channel."""
    return torch.where(x >= 0, x, channelwise(alpha, x) * x)


def elu(x: Tensor, alpha: float) -> Tensor:
    return F.elu(x, alpha)


def clamped_relu(x: Tensor, alpha: float, beta: float) -> Tensor:
    return torch.where(x >= 0, x, alpha * x).clamp(max=beta)


def thresholded_relu(x: Tensor, alpha: float) -> Tensor:
    return torch.where(x >= alpha, x, 0.0)


def linear_activation(x: Tensor, alpha: float, beta: float) -> Tensor:
    return alpha * x + beta


def scaled_tanh(x: Tensor, alpha: float, beta: float) -> Tensor:
    return alpha * torch.tanh(beta * x)


def sigmoid_hard(x: Tensor, alpha: float, beta: float) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


def softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


def softplus_parametric(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return channelwise(alpha, x) * softplus(channelwise(beta, x) * x)


def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    if mode == "EXACT":
        return F.gelu(x)
    if mode == "TANH_APPROXIMATION":
        return F.gelu(x, approximate="tanh")
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    raise UnsupportedOperation(f"gelu of mode '{mode}'")


def inverse(x: Tensor, epsilon: float = 1e-4) -> Tensor:
    """1 / (x + epsilon): Core ML's own deviation from a reciprocal."""
    return 1 / (x + epsilon)


def rsqrt(x: Tensor, epsilon: float = 1e-12) -> Tensor:
    return torch.rsqrt(x + epsilon)


def log(x: Tensor, epsilon: float = 1e-45) -> Tensor:
    return torch.log(x + epsilon)


def real_div(x: Tensor, y: Tensor) -> Tensor:
    if integral(x):
        return torch.div(x, y, rounding_mode="trunc")
    return x / y


def floor_div(x: Tensor, y: Tensor) -> Tensor:
    return torch.div(x, y, rounding_mode="floor")


def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(cond, a, b)


CASTS: dict[str, torch.dtype] = {
    "bool": torch.bool,
    "fp16": torch.float32,
    "fp32": torch.float32,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "uint8": torch.uint8,
    "uint16": torch.int32,
}


def cast(x: Tensor, dtype: str) -> Tensor:
    """Floats are cut towards zero when they become integers."""
    if dtype not in CASTS:
        raise UnsupportedOperation(f"cast to '{dtype}'")
    return x.to(CASTS[dtype])


OPS: dict[str, Op] = {
    "abs": Op(unary(torch.abs), moves=True),
    "acos": Op(unary(torch.acos)),
    "add": Op(binary(torch.add)),
    "asin": Op(unary(torch.asin)),
    "atan": Op(unary(torch.atan)),
    "atanh": Op(unary(torch.atanh)),
    "cast": Op(cast, gives=("=dtype",)),
    "ceil": Op(unary(torch.ceil)),
    "clamped_relu": Op(clamped_relu),
    "clip": Op(clip, moves=True),
    "cos": Op(unary(torch.cos)),
    "cosh": Op(unary(torch.cosh)),
    "elu": Op(elu),
    "equal": Op(binary(torch.eq), gives=("bool",)),
    "erf": Op(unary(torch.erf)),
    "exp": Op(unary(torch.exp)),
    "exp2": Op(unary(torch.exp2)),
    "floor": Op(unary(torch.floor)),
    "floor_div": Op(binary(floor_div)),
    "gelu": Op(gelu),
    "greater": Op(binary(torch.gt), gives=("bool",)),
    "greater_equal": Op(binary(torch.ge), gives=("bool",)),
    "identity": Op(unary(lambda x: x), moves=True),
    "inverse": Op(inverse),
    "leaky_relu": Op(leaky_relu),
    "less": Op(binary(torch.lt), gives=("bool",)),
    "less_equal": Op(binary(torch.le), gives=("bool",)),
    "linear_activation": Op(linear_activation),
    "log": Op(log),
    "logical_and": Op(binary(torch.logical_and), gives=("bool",)),
    "logical_not": Op(unary(torch.logical_not), gives=("bool",)),
    "logical_or": Op(binary(torch.logical_or), gives=("bool",)),
    "logical_xor": Op(binary(torch.logical_xor), gives=("bool",)),
    "maximum": Op(binary(torch.maximum), moves=True),
    "minimum": Op(binary(torch.minimum), moves=True),
    "mod": Op(binary(torch.remainder)),
    "mul": Op(binary(torch.mul)),
    "not_equal": Op(binary(torch.ne), gives=("bool",)),
    "pow": Op(binary(torch.pow)),
    "prelu": Op(prelu),
    "real_div": Op(real_div),
    "relu": Op(unary(torch.relu), moves=True),
    "relu6": Op(unary(F.relu6), moves=True),
    "round": Op(unary(torch.round)),
    "rsqrt": Op(rsqrt),
    "scaled_tanh": Op(scaled_tanh),
    "select": Op(select, gives=("a",), moves=True),
    "sigmoid": Op(unary(torch.sigmoid)),
    "sigmoid_hard": Op(sigmoid_hard),
    "sign": Op(unary(torch.sign), moves=True),
    "silu": Op(unary(F.silu)),
    "sin": Op(unary(torch.sin)),
    "sinh": Op(unary(torch.sinh)),
    "softplus": Op(softplus),
    "softplus_parametric": Op(softplus_parametric),
    "softsign": Op(unary(F.softsign)),
    "sqrt": Op(unary(torch.sqrt)),
    "square": Op(unary(torch.square)),
    "sub": Op(binary(torch.sub)),
    "tan": Op(unary(torch.tan)),
    "tanh": Op(unary(torch.tanh)),
    "threshold": Op(threshold, moves=True),
    "thresholded_relu": Op(thresholded_relu, moves=True),
}
