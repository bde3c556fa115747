"""Arithmetic, comparisons and activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import fx

from converters.graph.writing.emit import Emission, shape_of

Writer = Callable[[Emission], Any]


def promoted(*values: Any) -> torch.dtype:
    """The type in which PyTorch computes with these arguments."""
    examples = []
    for value in values:
        if isinstance(value, fx.Node):
            found = shape_of(value)
            examples.append(torch.empty((1,) * found.ndim, dtype=found.dtype))
        else:
            examples.append(value)
    kind = torch.result_type(examples[0], examples[1]) if len(examples) > 1 else examples[0].dtype
    for other in examples[2:]:
        kind = torch.result_type(torch.empty((1,), dtype=kind), other)
    return kind


def unary(operation: str, **attributes: Any) -> Writer:
    def write(e: Emission) -> str:
        dtype = e.result.dtype if e.result.is_floating_point() else None
        return e.emit(operation, e.input(0, dtype), **attributes)

    return write


def binary(operation: str) -> Writer:
    """Computes in the type that both are promoted to, and gives the result's."""

    def write(e: Emission) -> str:
        kind = promoted(e.arg(0), e.arg(1))
        if kind is torch.bool and operation in ("Mul", "Add"):
            logical = "And" if operation == "Mul" else "Or"
            return e.emit(logical, e.input(0), e.input(1))
        if operation == "Div" and not kind.is_floating_point:
            kind = e.result.dtype
        return e.emit(operation, e.input(0, kind), e.input(1, kind))

    return write


def reversed_difference(e: Emission) -> str:
    """rsub: what is given, less the tensor."""
    kind, alpha = e.result.dtype, e.arg(2, "alpha", 1)
    x = e.input(0, kind)
    if alpha != 1:
        x = e.emit("Mul", x, e.name(alpha, kind))
    return e.emit("Sub", e.input(1, kind), x)


def compare(operation: str, negated: bool = False) -> Writer:
    def write(e: Emission) -> str:
        kind = promoted(e.arg(0), e.arg(1))
        kind = torch.int32 if kind is torch.bool and operation != "Equal" else kind
        made = e.emit(operation, e.input(0, kind), e.input(1, kind))
        return e.emit("Not", made) if negated else made

    return write


def logical(operation: str) -> Writer:
    """Of truth values, or bit by bit of whole numbers."""

    def write(e: Emission) -> str:
        if _is_bitwise(e):
            kind = e.result.dtype
            return e.emit(f"Bitwise{operation}", e.input(0, kind), e.input(1, kind))
        return e.emit(operation, e.input(0, torch.bool), e.input(1, torch.bool))

    return write


def logical_not(e: Emission) -> str:
    return (
        e.emit("BitwiseNot", e.input()) if _is_bitwise(e) else e.emit("Not", e.input(0, torch.bool))
    )


def _is_bitwise(e: Emission) -> bool:
    return "logical" not in str(e.node.target) and e.result.dtype is not torch.bool


def clip(e: Emission) -> str:
    low, high = e.arg(1, "min"), e.arg(2, "max")
    return _clipped(e, e.input(0, e.result.dtype), low, high)


def _clipped(e: Emission, x: str, low: Any, high: Any) -> str:
    kind = e.result.dtype
    if any(isinstance(v, fx.Node) and shape_of(v).ndim for v in (low, high)):
        for operation, bound in (("Max", low), ("Min", high)):
            x = e.emit(operation, x, e.name(bound, kind)) if bound is not None else x
        return x
    bounds = [e.name(low, kind), e.name(high, kind)]
    return e.emit("Clip", x, *(bounds if bounds[1] else bounds[:1]))


def clip_below(e: Emission) -> str:
    return _clipped(e, e.input(0, e.result.dtype), e.arg(1, "min"), None)


def clip_above(e: Emission) -> str:
    return _clipped(e, e.input(0, e.result.dtype), None, e.arg(1, "max"))


def hardtanh(e: Emission) -> str:
    return _clipped(e, e.input(), e.arg(1, "min_val", -1.0), e.arg(2, "max_val", 1.0))


def relu6(e: Emission) -> str:
    return _clipped(e, e.input(), 0.0, 6.0)


def leaky_relu(e: Emission) -> str:
    return e.emit("LeakyRelu", e.input(), alpha=float(e.arg(1, "negative_slope", 0.01)))


def elu(e: Emission) -> str:
    alpha, scale, input_scale = e.arg(1, "alpha", 1.0), e.arg(2, "scale", 1.0), e.arg(3, "", 1.0)
    if scale != 1 or input_scale != 1:
        raise e.refuse("with scales of its own", "multiply before and after it")
    return e.emit("Elu", e.input(), alpha=float(alpha))


def celu(e: Emission) -> str:
    return e.emit("Celu", e.input(), alpha=float(e.arg(1, "alpha", 1.0)))


def gelu(e: Emission) -> str:
    return e.emit("Gelu", e.input(), approximate=str(e.node.kwargs.get("approximate", "none")))


def silu(e: Emission) -> str:
    x = e.input()
    return e.emit("Mul", x, e.emit("Sigmoid", x))


def hard_sigmoid(e: Emission) -> str:
    return e.emit("HardSigmoid", e.input(), alpha=1 / 6, beta=0.5)


def prelu(e: Emission) -> str:
    slope, rank = e.input(1), e.tensor().ndim
    count = e.tensor(1).numel()
    if e.tensor(1).ndim == 1 and rank > 2:
        slope = e.reshape(slope, (count, *(1,) * (rank - 2)))
    return e.emit("PRelu", e.input(), slope)


def log_sigmoid(e: Emission) -> str:
    return e.emit("Neg", e.emit("Softplus", e.emit("Neg", e.input())))


def threshold(e: Emission) -> str:
    kind = e.result.dtype
    above = e.emit("Greater", e.input(), e.name(e.arg(1, "threshold"), kind))
    return e.emit("Where", above, e.input(), e.name(e.arg(2, "value"), kind))


def shrink(soft: bool) -> Writer:
    def write(e: Emission) -> str:
        x, bound = e.input(), float(e.arg(1, "lambd", 0.5))
        kind = e.result.dtype
        if soft:
            inner = e.emit("Clip", x, e.name(-bound, kind), e.name(bound, kind))
            return e.emit("Sub", x, inner)
        outside = e.emit("Greater", e.emit("Abs", x), e.name(bound, kind))
        return e.emit("Where", outside, x, e.name(0.0, kind))

    return write


def rsqrt(e: Emission) -> str:
    return e.emit("Reciprocal", e.emit("Sqrt", e.input(0, e.result.dtype)))


def square(e: Emission) -> str:
    x = e.input(0, e.result.dtype)
    return e.emit("Mul", x, x)


def log1p(e: Emission) -> str:
    kind = e.result.dtype
    return e.emit("Log", e.emit("Add", e.input(0, kind), e.name(1, kind)))


def expm1(e: Emission) -> str:
    kind = e.result.dtype
    return e.emit("Sub", e.emit("Exp", e.input(0, kind)), e.name(1, kind))


def logarithm(base: float) -> Writer:
    def write(e: Emission) -> str:
        kind = e.result.dtype
        found = e.emit("Log", e.input(0, kind))
        return e.emit("Mul", found, e.name(float(1 / np.log(base)), kind))

    return write


def power(e: Emission) -> str:
    kind, exponent = e.result.dtype, e.arg(1)
    if exponent == 2:
        return square(e)
    if exponent == 0.5:
        return e.emit("Sqrt", e.input(0, kind))
    return e.emit("Pow", e.input(0, kind), e.input(1, kind))


def where(e: Emission) -> str:
    kind = e.result.dtype
    return e.emit("Where", e.input(0, torch.bool), e.input(1, kind), e.input(2, kind))


def masked_fill(e: Emission) -> str:
    kind = e.result.dtype
    return e.emit("Where", e.input(1, torch.bool), e.input(2, kind), e.input(0, kind))


def cast(e: Emission) -> str:
    if e.result.dtype is e.tensor().dtype:
        return e.input()
    if e.result.dtype is torch.bool:
        return e.emit("Not", e.emit("Equal", e.input(), e.name(0, e.tensor().dtype)))
    return e.cast(e.input(), e.result.dtype)


def integer_division(e: Emission) -> str:
    """Of integers, rounded down: ONNX's is rounded towards zero."""
    kind = e.result.dtype
    x, y = e.input(0, kind), e.input(1, kind)
    rest = e.emit("Mod", x, y)  # of the divisor's sign, as Python's
    return e.emit("Div", e.emit("Sub", x, rest), y)


def divide(e: Emission) -> str:
    mode = e.node.kwargs.get("rounding_mode")
    if mode is None:
        return str(binary("Div")(e))
    if mode == "floor":
        return integer_division(e)
    kind = e.result.dtype
    return e.emit("Div", e.input(0, kind), e.input(1, kind))


def modulo(fmod: int) -> Writer:
    def write(e: Emission) -> str:
        kind = e.result.dtype
        return e.emit("Mod", e.input(0, kind), e.input(1, kind), fmod=fmod or None)

    return write


def truncate(e: Emission) -> str:
    x = e.input()
    below = e.emit("Less", x, e.name(0.0, e.result.dtype))
    return e.emit("Where", below, e.emit("Ceil", x), e.emit("Floor", x))


def is_nan(e: Emission) -> str:
    x = e.input()
    return e.emit("Not", e.emit("Equal", x, x))


def fake_quantize(e: Emission) -> str:
    """Onto a grid of int8 and back: what a recipe of 8 bits puts between layers."""
    scale, zero, low, high = (e.arg(i) for i in range(1, 5))
    if (low, high) != (-128, 127):
        raise e.refuse(f"codes from {low} to {high} are not int8")
    grid = (
        e.constant(np.asarray(scale, np.float32)),
        e.constant(np.asarray(zero, np.int8)),
    )
    codes = e.emit("QuantizeLinear", e.input(), *grid)
    return e.emit("DequantizeLinear", codes, *grid)
