"""Convolution, its transpose, pooling and linear layers; data is (N, C, *spatial)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from converters.mil.ops.signature import Ints, Op
from model_defs.errors import BadArtifact, UnsupportedOperation

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def paddings(x: Tensor, kernel: Ints, strides: Ints, pad_type: str, pad: Ints) -> Ints:
    """(before, after) of each spatial dimension, flattened; `kernel` counts its dilation.

    "same" makes ceil(size / stride) outputs and puts an odd element after, "same_lower" before.
    """
    if pad_type == "valid":
        return (0,) * (2 * len(kernel))
    if pad_type == "custom":
        if len(pad) != 2 * len(kernel):
            raise BadArtifact(f"pad has {len(pad)} values for {len(kernel)} dimensions")
        return pad
    if pad_type not in ("same", "same_lower"):
        raise UnsupportedOperation(f"padding of type '{pad_type}'")
    result: list[int] = []
    for size, k, s in zip(x.shape[2:], kernel, strides, strict=True):
        total = max(0, (math.ceil(size / s) - 1) * s + k - size)
        less, more = total // 2, total - total // 2
        result += (less, more) if pad_type == "same" else (more, less)
    return tuple(result)


def padded(x: Tensor, pads: Ints, value: float = 0.0) -> Tensor:
    """`x` with (before, after) of each spatial dimension added."""
    if not any(pads):
        return x
    # F.pad counts from the last axis, MIL from the first.
    last_first = [p for i in range(len(pads) - 2, -1, -2) for p in pads[i : i + 2]]
    return F.pad(x, last_first, value=value)


def _or_ones(values: Ints, rank: int) -> Ints:
    return values or (1,) * rank


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Ints = (),
    pad_type: str = "valid",
    pad: Ints = (),
    dilations: Ints = (),
    groups: int = 1,
) -> Tensor:
    """`weight` is (C_out, C_in / groups, *kernel)."""
    rank = x.dim() - 2
    strides, dilations = _or_ones(strides, rank), _or_ones(dilations, rank)
    reach = tuple((k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True))
    pads = paddings(x, reach, strides, pad_type, pad)
    before, after = pads[::2], pads[1::2]
    # torch pads both sides alike; only where they differ is the map copied.
    if before == after:
        return CONVOLUTIONS[rank](x, weight, bias, strides, before, dilations, groups)
    return CONVOLUTIONS[rank](padded(x, pads), weight, bias, strides, 0, dilations, groups)


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: Ints = (),
    output_shape: Ints = (),
    pad_type: str = "valid",
    strides: Ints = (),
    dilations: Ints = (),
    groups: int = 1,
) -> Tensor:
    """`weight` is (C_in, C_out / groups, *kernel); padding cuts the full result.

    `output_shape` extends the cut result at the end, where the cut left something over.
    """
    rank = x.dim() - 2
    strides, dilations = _or_ones(strides, rank), _or_ones(dilations, rank)
    # Cut here, and not by torch: that cuts both sides alike, and its output_padding has to stay
    # below the stride or the dilation.
    full = TRANSPOSED[rank](x, weight, bias, strides, 0, 0, groups, dilations)
    if output_shape and output_shape[:2] != tuple(full.shape[:2]):
        raise BadArtifact(f"output_shape {output_shape} for a result of {tuple(full.shape)}")
    cuts = _transposed_cuts(x, full, strides, pad_type, pad)
    for axis, (before, after) in enumerate(zip(cuts[::2], cuts[1::2], strict=True), 2):
        size = full.shape[axis] - before - after
        if output_shape:
            size = output_shape[axis]
        missing = before + size - full.shape[axis]
        if missing > 0:
            full = _lengthened(full, axis, missing, bias)
        full = full.narrow(axis, before, size)
    return full


def _transposed_cuts(x: Tensor, full: Tensor, strides: Ints, pad_type: str, pad: Ints) -> Ints:
    if pad_type == "valid":
        return (0,) * (2 * len(strides))
    if pad_type == "custom":
        return pad
    if pad_type != "same":
        raise UnsupportedOperation(f"conv_transpose with padding of type '{pad_type}'")
    result: list[int] = []
    for size, whole, stride in zip(x.shape[2:], full.shape[2:], strides, strict=True):
        total = whole - size * stride
        result += (total // 2, total - total // 2)
    return tuple(result)


def _lengthened(full: Tensor, axis: int, missing: int, bias: Tensor | None) -> Tensor:
    """Positions that no input reaches hold the bias alone."""
    shape = [*full.shape[:axis], missing, *full.shape[axis + 1 :]]
    tail = full.new_zeros(shape)
    if bias is not None:
        tail = tail + bias.reshape(1, -1, *([1] * (full.dim() - 2)))
    return torch.cat([full, tail], axis)


def _windows(x: Tensor, kernel: Ints, strides: Ints, pads: Ints, ceil_mode: bool) -> Ints:
    """Extra elements after each dimension, so that plain pooling yields ceil_mode's windows.

    As in PyTorch, a window that would begin in the padding after the data is left out.
    """
    if not ceil_mode:
        return (0,) * len(kernel)
    result: list[int] = []
    for i, (size, k, s) in enumerate(zip(x.shape[2:], kernel, strides, strict=True)):
        before, after = pads[2 * i : 2 * i + 2]
        count = math.ceil((size + before + after - k) / s) + 1
        if (count - 1) * s >= size + before:
            count -= 1
        result.append(max(0, (count - 1) * s + k - size - before - after))
    return tuple(result)


def _widened(pads: Ints, extra: Ints) -> Ints:
    return tuple(p + (extra[i // 2] if i % 2 else 0) for i, p in enumerate(pads))


def max_pool(
    x: Tensor,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints = (),
    pad: Ints = (),
    ceil_mode: bool = False,
) -> Tensor:
    rank = len(kernel_sizes)
    strides = _or_ones(strides, rank)
    pads = paddings(x, kernel_sizes, strides, pad_type, pad or (0,) * 2 * rank)
    pads = _widened(pads, _windows(x, kernel_sizes, strides, pads, ceil_mode))
    # Padded before: torch pads by half of the kernel at most, and both sides alike.
    return MAX_POOLS[rank](padded(x, pads, -math.inf), kernel_sizes, strides)


def _window_sums(x: Tensor, kernel: Ints, strides: Ints) -> Tensor:
    """Sums over sliding windows of the spatial dimensions."""
    pools: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
    return pools[len(kernel)](x, kernel, strides) * math.prod(kernel)


def avg_pool(
    x: Tensor,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints = (),
    pad: Ints = (),
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    """What ceil_mode adds beyond the padding counts as padding: the rule `avg-pool-ceil`."""
    rank = len(kernel_sizes)
    strides = _or_ones(strides, rank)
    pads = paddings(x, kernel_sizes, strides, pad_type, pad or (0,) * 2 * rank)
    extra = _windows(x, kernel_sizes, strides, pads, ceil_mode)
    sums = _window_sums(padded(x, _widened(pads, extra)), kernel_sizes, strides)
    if not exclude_padding_from_average or not (any(pads) or any(extra)):
        return sums / math.prod(kernel_sizes)
    # Ones where an element counts, summed over the same windows as the data.
    counted = x.new_ones((1, 1, *x.shape[2:]))
    counts = _window_sums(padded(counted, _widened(pads, extra)), kernel_sizes, strides)
    return sums / counts


def l2_pool(
    x: Tensor,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints = (),
    pad: Ints = (),
    ceil_mode: bool = False,
) -> Tensor:
    """The root of the sum of squares in each window."""
    rank = len(kernel_sizes)
    strides = _or_ones(strides, rank)
    pads = paddings(x, kernel_sizes, strides, pad_type, pad or (0,) * 2 * rank)
    pads = _widened(pads, _windows(x, kernel_sizes, strides, pads, ceil_mode))
    return _window_sums(padded(x.square(), pads), kernel_sizes, strides).sqrt()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`weight` is (out, in)."""
    return F.linear(x, weight, bias)


def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    left = x.transpose(-1, -2) if transpose_x and x.dim() > 1 else x
    right = y.transpose(-1, -2) if transpose_y and y.dim() > 1 else y
    return torch.matmul(left, right)


def einsum(values: tuple[Tensor, ...], equation: str) -> Tensor:
    return torch.einsum(equation, *values)


OPS: dict[str, Op] = {
    "avg_pool": Op(avg_pool),
    "conv": Op(conv),
    "conv_transpose": Op(conv_transpose),
    "einsum": Op(einsum, gives=("values",)),
    "l2_pool": Op(l2_pool),
    "linear": Op(linear),
    "matmul": Op(matmul),
    "max_pool": Op(max_pool, moves=True),
}
