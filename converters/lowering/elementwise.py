"""Operations on each element, and how two orders of axes meet in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from converters.lowering.call import Call
from converters.lowering.tf import (
    Tensor,
    as_dtype,
    constant,
    float32,
    gen_math_ops,
    gen_nn_ops,
)
from converters.lowering.value import (
    MOST_AXES,
    Order,
    Value,
    as_tensor,
    merged,
    permuted,
    reshape,
)

Emit = Callable[..., Tensor]


def unary(emit: Emit) -> Callable[[Call], Value]:
    """An operation without attributes, in whatever order its input is stored."""

    def lower(call: Call) -> Value:
        call.read()
        value = call.value()
        return Value(emit(as_tensor(value)), value.order)

    return lower


def binary(emit: Emit) -> Callable[[Call], Value]:
    """An operation on two operands (or, as ONNX's Sum and Max, several) that broadcast."""

    def lower(call: Call) -> Value:
        call.read()
        tensors, order = together(call, [call.value(i) for i in range(len(call.inputs))])
        tensors = _of_few_axes(tensors)
        result = tensors[0]
        for tensor in tensors[1:]:
            result = emit(result, tensor)
        return Value(reshape(result, permuted(call.shape, order)), order)

    return lower


def together(call: Call, values: list[Value]) -> tuple[list[Tensor], Order]:
    """Operands in one order, ready to broadcast: that of the largest computed one.

    Constants are shrunk to what they need: an axis along which all elements are equal, and
    along which another operand has the full size, is broadcast instead of stored.
    """
    rank = max(value.rank for value in values)
    full = [_expanded(value, rank) for value in values]
    computed = [value for value in full if not value.is_constant] or full
    order = max(computed, key=lambda value: np.prod(value.shape)).order
    result = np.broadcast_shapes(*(value.shape for value in full))
    needed = np.broadcast_shapes(*(value.shape for value in computed))
    tensors = []
    for value in full:
        arranged = call.arrange(value, order)
        if isinstance(arranged.tensor, np.ndarray):
            held = tuple(needed[axis] == result[axis] for axis in order)
            arranged = Value(_shrunk(arranged.tensor, held), order)
        tensors.append(_plain(arranged))
    return tensors, order


def _of_few_axes(tensors: list[Tensor]) -> list[Tensor]:
    """Operands of many axes, those merged along which all of them broadcast alike."""
    rank = max(len(tensor.shape) for tensor in tensors)
    if rank <= MOST_AXES:
        return tensors
    shapes = [(1,) * (rank - len(t.shape)) + tuple(int(n) for n in t.shape) for t in tensors]
    whole = np.broadcast_shapes(*shapes)
    # An axis of size 1 in the result goes with any other.
    full = [[n == w for n, w in zip(s, whole, strict=True)] for s in shapes]
    breaks, held = [], 0
    for axis in range(1, rank):
        alike = whole[axis] == 1 or all(f[held] == f[axis] for f in full) or whole[held] == 1
        held = held if whole[axis] == 1 and alike else axis
        breaks.append(not alike)
    return [reshape(t, merged(s, breaks)) for t, s in zip(tensors, shapes, strict=True)]


def _expanded(value: Value, rank: int) -> Value:
    """With axes of size 1 in front, up to a rank, as ONNX broadcasts."""
    missing = rank - value.rank
    if not missing:
        return value
    tensor = reshape(value.tensor, (1,) * missing + value.stored_shape)
    return Value(tensor, (*range(missing), *(axis + missing for axis in value.order)))


def _shrunk(array: np.ndarray, held: tuple[bool, ...]) -> np.ndarray:
    for axis, is_held in enumerate(held):
        first = array.take([0], axis)
        if is_held and array.shape[axis] > 1 and (array == first).all():
            array = first
    return array


def _plain(value: Value) -> Tensor:
    """A tensor; a constant without its leading axes of size 1."""
    array = value.tensor
    if isinstance(array, np.ndarray):
        sizes = list(array.shape)
        while sizes and sizes[0] == 1:
            del sizes[0]
        return as_tensor(Value.of(array.reshape(sizes)))
    return array


def clip(call: Call) -> Value:
    """Clip between constants; 0..6 and 0.. are the activations of that name."""
    a = call.read(min=None, max=None)
    low = call.constant(1, "minimum").item() if call.has(1) else a.min
    high = call.constant(2, "maximum").item() if call.has(2) else a.max
    value = call.value()
    x = as_tensor(value)
    # An activation is fused into the convolution before it, a maximum or minimum is not.
    if (low, high) == (0, 6):
        return Value(gen_nn_ops.relu6(x), value.order)
    if low == 0:
        x = gen_nn_ops.relu(x)
    elif low is not None:
        x = gen_math_ops.maximum(x, as_like(low, x))
    if high is not None:
        x = gen_math_ops.minimum(x, as_like(high, x))
    return Value(x, value.order)


def power(call: Call) -> Value:
    """Pow; squares, cubes and roots as such."""
    call.read()
    value, exponent = call.value(0), call.value(1)
    if exponent.is_constant and exponent.logical.size == 1:
        x, n = as_tensor(value), exponent.logical.item()
        known: dict[float, Callable[[], Tensor]] = {
            1.0: lambda: x,
            2.0: lambda: gen_math_ops.square(x),
            3.0: lambda: gen_math_ops.mul(gen_math_ops.square(x), x),
            0.5: lambda: gen_math_ops.sqrt(x),
            -0.5: lambda: gen_math_ops.rsqrt(x),
        }
        if float(n) in known:
            return Value(known[float(n)](), value.order)
    (x, n), order = together(call, [value, exponent])
    if x.dtype != n.dtype:
        if x.dtype != float32:
            raise call.refuse("an integer with a fractional exponent", do="use a float base")
        n = gen_math_ops.cast(n, float32)
    return Value(gen_math_ops._pow(x, n), order)


def modulo(call: Call) -> Value:
    """Mod: the remainder has the divisor's sign, or with `fmod` the dividend's."""
    a = call.read(fmod=0)
    (x, y), order = together(call, [call.value(0), call.value(1)])
    if not a.fmod:
        return Value(gen_math_ops.floor_mod(x, y), order)
    size = gen_math_ops.floor_mod(gen_math_ops._abs(x), gen_math_ops._abs(y))
    return Value(gen_math_ops.mul(gen_math_ops.sign(x), size), order)


def mean(call: Call) -> Value:
    """Mean of several operands that broadcast."""
    total = binary(gen_math_ops.add_v2)(call)
    x = as_tensor(total)
    return Value(gen_math_ops.mul(x, as_like(1 / len(call.inputs), x)), total.order)


def where(call: Call) -> Value:
    call.read()
    (condition, x, y), order = together(call, [call.value(i) for i in range(3)])
    return Value(selected(condition, x, y), order)


def selected(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """x where the condition holds, else y. Of booleans by logic: WASM selects floats only."""
    if x.dtype != as_dtype("bool"):
        return gen_math_ops.select_v2(condition, x, y)
    chosen = gen_math_ops.logical_and(condition, x)
    other = gen_math_ops.logical_and(gen_math_ops.logical_not(condition), y)
    return gen_math_ops.logical_or(chosen, other)


def cast(call: Call) -> Value:
    """Cast between float32, bool and integers (of 32 bits here)."""
    a = call.read(to=None, saturate=1)
    import onnx

    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(a.to))
    kinds = {"float32": "float32", "int64": "int32", "int32": "int32", "bool": "bool"}
    if kind.name not in kinds:
        raise call.refuse(f"to {kind.name}", do="use float32, int32, int64 or bool")
    value = call.value()
    x, to = as_tensor(value), as_dtype(kinds[kind.name])
    return Value(x if x.dtype == to else gen_math_ops.cast(x, to), value.order)


def as_like(number: float, x: Tensor) -> Tensor:
    return constant(np.asarray(number, x.dtype.as_numpy_dtype))


def divide(call: Call) -> Value:
    """Div; of integers the quotient is cut towards 0, as ONNX has it."""
    call.read()
    (x, y), order = together(call, [call.value(0), call.value(1)])
    if x.dtype == float32:
        return Value(gen_math_ops.real_div(x, y), order)
    floor = gen_math_ops.floor_div(x, y)
    # Below 0 the floor is one too low, where the division leaves a rest.
    rest = gen_math_ops.not_equal(gen_math_ops.mul(floor, y), x)
    is_low = gen_math_ops.logical_and(gen_math_ops.less(floor, as_like(0, x)), rest)
    return Value(gen_math_ops.add_v2(floor, gen_math_ops.cast(is_low, x.dtype)), order)


def reciprocal(call: Call) -> Value:
    call.read()
    value = call.value()
    x = as_tensor(value)
    return Value(gen_math_ops.real_div(as_like(1, x), x), value.order)
