"""Products of matrices."""

from __future__ import annotations

import numpy as np

from converters.lowering.activation import add, mul, number
from converters.lowering.call import Call
from converters.lowering.tf import Tensor, constant, gen_array_ops, gen_math_ops
from converters.lowering.value import Value, as_tensor, reshape


def matmul(call: Call) -> Value:
    """MatMul; a vector is a matrix of one row or column, which is then dropped."""
    call.read()
    left, right = call.value(0), call.value(1)
    if left.rank == 1 or right.rank == 1:
        x = gen_array_ops.expand_dims(call.logical(0), 0) if left.rank == 1 else call.logical(0)
        y = gen_array_ops.expand_dims(call.logical(1), 1) if right.rank == 1 else call.logical(1)
        product = _product(x, False, y, False)
        return Value.of(gen_array_ops.reshape(product, np.array(call.shape, np.int32)))
    if call.target == "tfjs" and left.rank > 2 and right.rank == 2 and right.is_constant:
        return Value.of(_of_rows(call))
    (x, flip_x), (y, flip_y) = _matrices(call, left), _factor(call, right)
    return Value.of(_product(x, flip_x, y, flip_y))


def _matrices(call: Call, value: Value) -> tuple[Tensor, bool]:
    """The operand, and whether its matrices are stored transposed: then nothing is moved."""
    plain = tuple(range(value.rank))
    flipped = (*plain[:-2], plain[-1], plain[-2])
    # A constant is transposed while converting, which costs no run anything.
    if value.order == flipped and not value.is_constant:
        return as_tensor(value), True
    return as_tensor(call.arrange(value, plain)), False


def _factor(call: Call, value: Value) -> tuple[Tensor, bool]:
    """The operand on the right; of TFLite as FULLY_CONNECTED stores it.

    TFLite's converter transposes a constant number by number: 25 of 65 s of a net of 304 M.
    """
    if call.target == "tflite" and value.is_constant and value.rank == 2:
        return as_tensor(call.arrange(value, (1, 0))), True
    return _matrices(call, value)


def _of_rows(call: Call) -> Tensor:
    """The same matrix for all rows: on WASM, XNNPACK multiplies two matrices, a loop many."""
    x, y = call.logical(0), call.logical(1)
    rows = reshape(x, (-1, int(x.shape[-1])))
    return reshape(gen_math_ops.mat_mul(rows, y), call.shape)


def _product(x: Tensor, flip_x: bool, y: Tensor, flip_y: bool) -> Tensor:
    if len(x.shape) == len(y.shape) == 2:
        return gen_math_ops.mat_mul(x, y, transpose_a=flip_x, transpose_b=flip_y)
    return gen_math_ops.batch_mat_mul_v2(x, y, adj_x=flip_x, adj_y=flip_y)


def gemm(call: Call) -> Value:
    """Gemm: alpha * A @ B + beta * C; the bias of a Linear as the BiasAdd that fuses."""
    a = call.read(alpha=1.0, beta=1.0, transA=0, transB=0)
    x, right = call.logical(0), call.value(1)
    if right.is_constant:
        # Into the constant, so that no run has an operation for alpha.
        weight = right.logical.T if a.transB else right.logical
        y, flip = constant(np.ascontiguousarray(weight * np.float32(a.alpha))), False
    else:
        y, flip = call.logical(1), bool(a.transB)
    product = _product(x, bool(a.transA), y, flip)
    if not right.is_constant and a.alpha != 1:
        product = mul(product, number(a.alpha))
    if not call.has(2):
        return Value.of(product)
    bias = call.logical(2)
    return Value.of(add(product, bias if a.beta == 1 else mul(bias, number(a.beta))))
