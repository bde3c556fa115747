"""DFT, as one product with a constant matrix."""

from __future__ import annotations

import numpy as np

from converters.lowering.call import Call
from converters.lowering.tf import constant, gen_array_ops, gen_math_ops
from converters.lowering.value import Value, as_tensor, reshape


def dft(call: Call) -> Value:
    """DFT of real (..., 1) or complex (..., 2) numbers along an axis, forwards or back.

    The axis and the parts of the numbers become one axis, of which each result is a sum: with
    w = exp(-2 pi i k n / N), real and imaginary parts each.
    """
    a = call.read(axis=None, inverse=0, onesided=0)
    if a.inverse and a.onesided:
        raise call.refuse("one half of an inverse transform", do="transform all frequencies")
    value = call.value()
    # From opset 20 on the axis is an input, and -2 by default; it was an attribute, and 1.
    given = a.axis if a.axis is not None else -2 if len(call.inputs) > 1 else 1
    axis = (call.constant(2, "axis").item() if call.has(2) else given) % value.rank
    size, parts = value.shape[axis], value.shape[-1]
    length = call.constant(1, "length").item() if call.has(1) else size
    matrix = _matrix(size, parts, int(length), call.shape[axis], bool(a.inverse))
    others = tuple(other for other in range(value.rank - 1) if other != axis)
    order = (*others, axis, value.rank - 1)
    x = as_tensor(call.arrange(value, order))
    rows = gen_array_ops.reshape(x, np.array([-1, size * parts], np.int32))
    y = gen_math_ops.mat_mul(rows, constant(matrix))
    return Value(reshape(y, [call.shape[axis] for axis in order]), order)


def _matrix(size: int, parts: int, length: int, results: int, is_inverse: bool) -> np.ndarray:
    """(size * parts, results * 2); inputs beyond the length are left out, missing ones are 0."""
    n, k = np.arange(size)[:, None], np.arange(results)[None]
    # The remainder is taken in integers: the angle of a large product would lose its last digits.
    angle = (2 if is_inverse else -2) * np.pi * (n * k % length) / length
    scale = (n < length) / (length if is_inverse else 1)
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    matrix = np.stack([np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)], 1)[:, :parts]
    return matrix.reshape(size * parts, results * 2).astype(np.float32)
