"""Convolutions, and matrix products, with constant weights as PyTorch's own modules."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.files.onnx.call import Layer, NodeCall, NodeOperation

CONVS: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED: tuple[Any, ...] = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONV_FUNCTIONS = (F.conv1d, F.conv2d, F.conv3d)
TRANSPOSED_FUNCTIONS = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def frame(before: Sequence[int], after: Sequence[int]) -> tuple[int, ...]:
    """Paddings as F.pad takes them: from the last axis to the first, before and after."""
    return tuple(n for pair in reversed(list(zip(before, after, strict=True))) for n in pair)


def pads_of(
    call: NodeCall,
    read: Any,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What is padded before and after each spatial axis of the first input."""
    count = len(kernel)
    if read.auto_pad == "VALID":
        return (0,) * count, (0,) * count
    if read.auto_pad == "NOTSET":
        pads = tuple(read.pads or (0,) * 2 * count)
        if len(pads) != 2 * count or min(pads, default=0) < 0:
            raise call.refuse(f"pads {pads} of {count} axes")
        sizes = zip(call.shape()[2:], pads, pads[count:], strict=False)
        call.sized([*call.shape()[:2], *(size + before + after for size, before, after in sizes)])
        return pads[:count], pads[count:]
    before, after = [], []
    for size, k, stride, dilation in zip(call.shape()[2:], kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size)
        less, more = total // 2, total - total // 2
        before.append(more if read.auto_pad == "SAME_LOWER" else less)
        after.append(less if read.auto_pad == "SAME_LOWER" else more)
    return tuple(before), tuple(after)


def _spatial(call: NodeCall) -> int:
    count = call.rank() - 2
    if not 1 <= count <= 3:
        raise call.refuse(f"{count} spatial dimensions")
    return count


def _bias(call: NodeCall) -> Tensor | None:
    return call.value(2) if call.has(2) else None


def conv(call: NodeCall) -> Layer:
    read = call.read(
        auto_pad="NOTSET", dilations=None, group=1, kernel_shape=None, pads=None, strides=None
    )
    count = _spatial(call)
    weight = call.value(1)
    kernel = tuple(weight.shape[2:])
    strides = tuple(read.strides or (1,) * count)
    dilations = tuple(read.dilations or (1,) * count)
    before, after = pads_of(call, read, kernel, strides, dilations)
    same = before == after
    settings = {
        "stride": strides,
        "padding": before if same else (0,) * count,
        "dilation": dilations,
        "groups": read.group,
    }
    padded = () if same else frame(before, after)
    if not call.is_constant(1, 2):
        function = partial(_conv, CONV_FUNCTIONS[count - 1], padded, settings)
        return call.apply(function)
    kind = CONVS[count - 1]
    module = _filled(call, kind, weight.shape[1] * read.group, weight.shape[0], kernel, **settings)
    if padded:
        module = nn.Sequential(NodeOperation("Pad", partial(F.pad, pad=padded)), module)
    return Layer(module, (0,), (1, 2))


def _conv(function: Any, padded: tuple[int, ...], settings: Any, *operands: Tensor) -> Any:
    value, *rest = operands
    return function(F.pad(value, padded) if padded else value, *rest, **settings)


def _filled(call: NodeCall, kind: Any, taken: int, given: int, *rest: Any, **settings: Any) -> Any:
    """A module of PyTorch with the node's constant weight and bias."""
    with torch.device("meta"):
        module = kind(taken, given, *rest, bias=call.has(2), **settings)
    if module.weight.shape != call.value(1).shape:
        raise call.refuse(f"weights of shape {call.shape(1)}, not {tuple(module.weight.shape)}")
    module.weight = nn.Parameter(call.value(1).clone())
    if (bias := _bias(call)) is not None:
        module.bias = nn.Parameter(bias.reshape(-1).clone())
    return module


def conv_transpose(call: NodeCall) -> Layer:
    read = call.read(
        auto_pad="NOTSET",
        dilations=None,
        group=1,
        kernel_shape=None,
        output_padding=None,
        output_shape=None,
        pads=None,
        strides=None,
    )
    count = _spatial(call)
    weight = call.value(1)
    kernel = tuple(weight.shape[2:])
    strides = tuple(read.strides or (1,) * count)
    dilations = tuple(read.dilations or (1,) * count)
    extra = tuple(read.output_padding or (0,) * count)
    before, after = _cropped(call, read, kernel, strides, dilations, extra)
    whole_sizes = [n * s + e for n, s, e in zip(call.shape()[2:], strides, extra, strict=True)]
    call.sized([call.shape()[0], weight.shape[1] * read.group, *whole_sizes])
    extra = tuple(e + max(0, -a) for e, a in zip(extra, after, strict=True))
    padding = tuple(max(0, min(b, a)) for b, a in zip(before, after, strict=True))
    cut = tuple((b - p, max(a, 0) - p) for b, a, p in zip(before, after, padding, strict=True))
    whole = {
        "stride": strides,
        "padding": padding,
        "output_padding": extra,
        "dilation": dilations,
        "groups": read.group,
    }
    if any(e >= max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        raise call.refuse(f"an output padding of {extra} at strides of {strides}")
    if not call.is_constant(1, 2):
        function = partial(_transposed, TRANSPOSED_FUNCTIONS[count - 1], cut, whole)
        return call.apply(function)
    module = _filled(
        call,
        TRANSPOSED[count - 1],
        weight.shape[0],
        weight.shape[1] * read.group,
        kernel,
        **whole,
    )
    if any(map(any, cut)):
        module = nn.Sequential(module, NodeOperation("Slice", partial(_cut, cut=cut)))
    return Layer(module, (0,), (1, 2))


def _cropped(
    call: NodeCall,
    read: Any,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    extra: Sequence[int],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How much of the whole result is cut off before and after; below 0: how much is added."""
    count = len(kernel)
    if read.output_shape is None and read.auto_pad in ("NOTSET", "VALID"):
        pads = (
            tuple(read.pads or (0,) * 2 * count) if read.auto_pad == "NOTSET" else (0,) * 2 * count
        )
        return pads[:count], pads[count:]
    sizes = call.shape()[2:]
    wanted = tuple(read.output_shape or ())[-count:] or tuple(
        n * s for n, s in zip(sizes, strides, strict=True)
    )
    before, after = [], []
    for axis, size in enumerate(sizes):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        total = strides[axis] * (size - 1) + extra[axis] + reach - wanted[axis]
        half = total // 2 if read.auto_pad == "SAME_UPPER" else total - total // 2
        if total < 0:
            half = 0
        before.append(half)
        after.append(total - half)
    return tuple(before), tuple(after)


def _transposed(function: Any, cut: Any, settings: Any, *operands: Tensor) -> Tensor:
    return _cut(function(*operands, **settings), cut)


def _cut(value: Tensor, cut: Sequence[tuple[int, int]]) -> Tensor:
    for axis, (before, after) in enumerate(cut, start=2):
        if before or after:
            value = value.narrow(axis, before, value.shape[axis] - before - after)
    return value


def matmul(call: NodeCall) -> Layer:
    """With a constant matrix on the right it is a linear layer, with the bias of `Linear`."""
    call.read()
    right = call.value(1)
    if 1 not in call.constants or right.ndim != 2 or not right.is_floating_point():
        return call.apply(torch.matmul, 0, 1)
    return _linear(call, right.t())


def linear(call: NodeCall) -> Layer:
    """Our own name for a MatMul and the Add of a constant bias after it."""
    return _linear(call, call.value(1).t())


def _linear(call: NodeCall, weight: Tensor) -> Layer:
    with torch.device("meta"):
        module = nn.Linear(weight.shape[1], weight.shape[0], bias=call.has(2))
    module.weight = nn.Parameter(weight.contiguous().clone())
    if (bias := _bias(call)) is not None:
        module.bias = nn.Parameter(bias.reshape(-1).expand(weight.shape[0]).clone())
    return Layer(module, (0,), (1, 2))


def gemm(call: NodeCall) -> Layer:
    read = call.read(alpha=1.0, beta=1.0, transA=0, transB=0, broadcast=None)
    plain = (read.alpha, read.beta, read.transA) == (1.0, 1.0, 0)
    right = call.value(1)
    width = right.shape[0 if read.transB else 1]
    if plain and call.is_constant(1, 2) and right.is_floating_point() and right.ndim == 2:
        bias = _bias(call)
        if bias is None or tuple(bias.shape) in ((), (1,), (width,), (1, 1), (1, width)):
            return _linear(call, right if read.transB else right.t())
    return call.apply(
        _gemm,
        alpha=read.alpha,
        beta=read.beta,
        turned=(bool(read.transA), bool(read.transB)),
    )


def _gemm(*operands: Tensor, alpha: float, beta: float, turned: tuple[bool, bool]) -> Tensor:
    left, right = (
        part.t() if is_turned else part
        for part, is_turned in zip(operands[:2], turned, strict=True)
    )
    result = left @ right
    if alpha != 1:
        result = alpha * result
    if len(operands) == 2:
        return result
    return result + (operands[2] if beta == 1 else beta * operands[2])


def einsum(call: NodeCall) -> Layer:
    read = call.read(equation="")
    return call.apply(_einsum, equation=read.equation)


def _einsum(*operands: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation, *operands)
