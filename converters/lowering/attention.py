"""Attention (opset 23): scaled dot products of queries and keys, over their values."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from converters.lowering.activation import add, mul, number
from converters.lowering.call import Call
from converters.lowering.elementwise import selected
from converters.lowering.graph import Shape
from converters.lowering.tf import (
    Tensor,
    as_dtype,
    constant,
    gen_array_ops,
    gen_math_ops,
    gen_nn_ops,
)
from converters.lowering.value import Value

LOW = float(np.finfo(np.float32).min)
"""What stands where a key is hidden: not -inf, of which a whole row would be NaN."""
MASKED, CAPPED = 1, 2


def attention(call: Call) -> tuple[Value, ...]:
    """Attention of (batch, heads, length, size), or of (batch, length, heads * size).

    With a mask or causal, with past keys and values, with several queries to a head of keys.
    """
    a = call.read(
        is_causal=0,
        kv_num_heads=None,
        q_num_heads=None,
        qk_matmul_output_mode=0,
        scale=None,
        softcap=0.0,
        softmax_precision=1,
    )
    if call.has(6):
        raise call.refuse("lengths that differ in a batch", do="give a mask instead")
    query = _heads(call, 0, a.q_num_heads)
    key, value = (_heads(call, place, a.kv_num_heads) for place in (1, 2))
    past = 0
    if call.has(4):
        past = call.value(4).shape[2]
        key, value = (
            gen_array_ops.concat_v2([call.logical(place), now], 2)
            for place, now in ((4, key), (5, value))
        )
    present = key, value
    groups = int(query.shape[1]) // int(key.shape[1])
    key, value = _repeated(key, groups), _repeated(value, groups)
    # Each of the factors takes its root, as ONNX writes it down: the products then stay small.
    scale = a.scale or 1 / math.sqrt(int(query.shape[-1]))
    root = number(math.sqrt(scale))
    stages = _stages(call, a, mul(query, root), mul(key, root), past)
    product = gen_math_ops.batch_mat_mul_v2(stages[3], value, adj_x=False, adj_y=False)
    results = (_like_query(call, product), *present, stages[a.qk_matmul_output_mode])
    return tuple(Value.of(result) for result in results[: len(call.results)])


def _heads(call: Call, index: int, heads: int | None) -> Tensor:
    """An input as (batch, heads, length, size)."""
    x = call.logical(index)
    if len(x.shape) == 4:
        return x
    if heads is None:
        raise call.refuse("inputs of rank 3 without a number of heads", do="give q_num_heads")
    batch, length, wide = (int(n) for n in x.shape)
    x = gen_array_ops.reshape(x, np.array([batch, length, heads, wide // heads], np.int32))
    return gen_array_ops.transpose(x, [0, 2, 1, 3])


def _repeated(x: Tensor, times: int) -> Tensor:
    """Each head so often, one after the other."""
    if times == 1:
        return x
    batch, heads, length, size = (int(n) for n in x.shape)
    apart = gen_array_ops.reshape(x, np.array([batch * heads, 1, length * size], np.int32))
    copies = gen_array_ops.concat_v2([apart] * times, 1)
    return gen_array_ops.reshape(copies, np.array([batch, heads * times, length, size], np.int32))


def _stages(
    call: Call, a: SimpleNamespace, query: Tensor, key: Tensor, past: int
) -> tuple[Tensor, ...]:
    """The products, then masked, then capped, then after softmax: what a fourth result may be."""
    # As a result, a product that is hidden is -inf.
    is_shown = len(call.results) > 3 and a.qk_matmul_output_mode in (MASKED, CAPPED)
    if is_shown and call.target == "tflite" and (a.is_causal or _is_boolean(call)):
        raise call.refuse("masked products as a result", do="TFLite's constants have no infinity")
    low = -math.inf if is_shown else LOW
    products = gen_math_ops.batch_mat_mul_v2(query, key, adj_x=False, adj_y=True)
    masked = products
    if call.has(3):
        masked = _masked(call, masked, low)
    if a.is_causal:
        rows, columns = (int(n) for n in products.shape[-2:])
        kept = np.tri(rows, columns, past, dtype=np.bool_)
        masked = selected(constant(kept), masked, number(low))
    capped = masked
    if a.softcap:
        capped = mul(gen_math_ops.tanh(mul(masked, number(1 / a.softcap))), number(a.softcap))
    return products, masked, capped, gen_nn_ops.softmax(capped)


def _is_boolean(call: Call) -> bool:
    return call.has(3) and call.logical(3).dtype == as_dtype("bool")


def _masked(call: Call, products: Tensor, low: float) -> Tensor:
    """With a mask that says what counts, or is added; one that is too short hides the rest."""
    mask = call.logical(3)
    missing = int(products.shape[-1]) - int(mask.shape[-1])
    is_boolean = _is_boolean(call)
    if missing:
        widths = np.array([(0, 0)] * (len(mask.shape) - 1) + [(0, missing)], np.int32)
        fill = False if is_boolean else np.float32(low)
        mask = gen_array_ops.pad_v2(mask, widths, constant(fill))
    return selected(mask, products, number(low)) if is_boolean else add(products, mask)


def _like_query(call: Call, x: Tensor) -> Tensor:
    shape: Shape = call.shape
    if len(shape) == 3:
        x = gen_array_ops.transpose(x, [0, 2, 1, 3])
    return gen_array_ops.reshape(x, np.array(shape, np.int32))
