"""Operations that converters do not hold, written with those that they do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from converters.graph import (
    core_ml,
    core_ml_operands,
    integers,
    padding,
    places,
    pooling,
    recurrent,
    resizing,
    sampling,
)
from converters.graph.decompose import Rule

aten: Any = torch.ops.aten


def _scatter(x: Tensor, source: Tensor, axis: int, indices: range) -> Tensor:
    """`x` with `source` at these places along an axis."""
    size = x.shape[axis]
    if indices.step == 1:
        parts = [x.narrow(axis, 0, indices.start), source]
        parts.append(x.narrow(axis, indices.stop, size - indices.stop))
        return torch.cat([p for p in parts if p.shape[axis]], axis)
    order = list(range(size))
    for place, index in enumerate(indices):
        order[index] = size + place
    return torch.cat([x, source], axis).index_select(axis, torch.tensor(order))


def slice_scatter(
    x: Tensor,
    source: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    indices = range(x.shape[dim])[slice(start, end, step)]
    return _scatter(x, source.expand(_with(x.shape, dim, len(indices))), dim, indices)


def select_scatter(x: Tensor, source: Tensor, dim: int, index: int) -> Tensor:
    place = index % x.shape[dim]
    return _scatter(x, source.unsqueeze(dim), dim, range(place, place + 1))


def _with(shape: torch.Size, axis: int, size: int) -> list[int]:
    found = list(shape)
    found[axis] = size
    return found


def roll(x: Tensor, shifts: Any, dims: Any = ()) -> Tensor:
    shifts = [shifts] if isinstance(shifts, int) else list(shifts)
    dims = [dims] if isinstance(dims, int) else list(dims)
    if not dims:
        return roll(x.reshape(-1), shifts, [0]).reshape(x.shape)
    for shift, dim in zip(shifts, dims, strict=True):
        size = x.shape[dim]
        start = (size - shift) % size if size else 0
        if start:
            x = torch.cat([x.narrow(dim, start, size - start), x.narrow(dim, 0, start)], dim)
    return x


def softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """Beyond the threshold it is the identity."""
    scaled = x * beta
    smooth = aten.softplus(scaled.clamp(max=threshold)) / beta
    return torch.where(scaled > threshold, x, smooth)


def rms_norm(
    x: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    axes = list(range(-len(normalized_shape), 0))
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    y = x * torch.rsqrt((x * x).mean(axes, keepdim=True) + eps)
    return y if weight is None else y * weight


def divide_rounded(x: Tensor, other: Any, *, rounding_mode: str = "floor") -> Tensor:
    quotient = x / other
    return torch.floor(quotient) if rounding_mode == "floor" else _truncated(quotient)


def _truncated(x: Tensor) -> Tensor:
    return torch.where(x < 0, torch.ceil(x), torch.floor(x))


def remainder(x: Any, other: Any) -> Any:
    return x - torch.floor(x / other) * other


def fmod(x: Tensor, other: Any) -> Any:
    return x - _truncated(x / other) * other


def fmod_of_integers(x: Any, other: Any) -> Any:
    """Core ML has none: what is left of a quotient that is cut off."""
    return x - torch.div(x, other, rounding_mode="trunc") * other


def frac(x: Tensor) -> Tensor:
    return x - _truncated(x)


def glu(x: Tensor, dim: int = -1) -> Tensor:
    half = x.shape[dim] // 2
    return x.narrow(dim, 0, half) * torch.sigmoid(x.narrow(dim, half, half))


def add_scaled(x: Any, y: Any, *, alpha: Any = 1) -> Any:
    return x + y * alpha


def subtract_scaled(x: Any, y: Any, *, alpha: Any = 1) -> Any:
    return x - y * alpha


def addcmul(x: Tensor, a: Tensor, b: Tensor, *, value: Any = 1) -> Tensor:
    product = a * b
    return x + (product if value == 1 else product * value)


def addcdiv(x: Tensor, a: Tensor, b: Tensor, *, value: Any = 1) -> Tensor:
    quotient = a / b
    return x + (quotient if value == 1 else quotient * value)


def lerp(x: Tensor, end: Tensor, weight: Any) -> Tensor:
    return x + weight * (end - x)


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    *_: Any,
) -> Tensor:
    """The convolution of so many axes, as TorchScript has it."""
    axes = x.ndim - 2
    stride, padding, dilation, output_padding = (
        list(given) * axes if len(given) == 1 else list(given)
        for given in (stride, padding, dilation, output_padding)
    )
    name = f"conv_transpose{axes}d" if transposed else f"conv{axes}d"
    call = getattr(torch.nn.functional, name)
    if transposed:
        made: Tensor = call(x, weight, bias, stride, padding, output_padding, groups, dilation)
    else:
        made = call(x, weight, bias, stride, padding, dilation, groups)
    return made


def copy(x: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    return source.to(x.dtype).expand(x.shape)


def fill(x: Tensor, value: Any) -> Tensor:
    return torch.full_like(x, value) if not isinstance(value, Tensor) else value.expand(x.shape)


def zero(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


def batch_norm_of_batch(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> Tensor:
    """By the statistics of what is fed (F.batch_norm(training=True), as AdaIN has it)."""
    axes = [axis for axis in range(x.ndim) if axis != 1]
    return _scaled(_normalized(x, axes, eps), weight, bias)


def native_batch_norm(x: Tensor, weight: Any, bias: Any, *rest: Any) -> Any:
    """The same as PyTorch writes it where it makes a graph functional."""
    made = batch_norm_of_batch(x, weight, bias, None, None, True, *rest[-2:])
    return (made, None, None, None, None)


def instance_norm_of_training(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> Tensor:
    """By the running statistics: a batch norm."""
    how = (False, momentum, eps, False)
    made: Tensor = aten.batch_norm.default(x, weight, bias, mean, variance, *how)
    return made


def _normalized(x: Tensor, axes: list[int], eps: float) -> Tensor:
    off = x - x.mean(axes, keepdim=True)
    return off * torch.rsqrt((off * off).mean(axes, keepdim=True) + eps)


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    shape = (-1, *(1,) * (x.ndim - 2))
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q @ k.T * scale + mask) @ v, the scale in q, which is the smaller product."""
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    if enable_gqa:
        times = q.shape[-3] // k.shape[-3]
        k, v = (x.repeat_interleave(times, -3) for x in (k, v))
    scores = torch.matmul(q * scale, k.transpose(-2, -1))
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        scores = torch.where(attn_mask, scores, torch.full((), -1e9, dtype=scores.dtype))
    elif attn_mask is not None:
        scores = scores + attn_mask
    return torch.matmul(torch.softmax(scores, -1), v)


def flat_argmax(x: Tensor, dim: None = None, keepdim: bool = False) -> Tensor:
    found = x.reshape(-1).argmax(0)
    return found.reshape((1,) * x.ndim) if keepdim else found


def flat_argmin(x: Tensor, dim: None = None, keepdim: bool = False) -> Tensor:
    found = x.reshape(-1).argmin(0)
    return found.reshape((1,) * x.ndim) if keepdim else found


def argsort(x: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    return x.sort(dim=dim, descending=descending)[1]


def _max_pool_of_core_ml(x: Tensor, *how: Any) -> Tensor:
    """Without dilation, of a batch."""
    slices = pooling.maximum_of_slices(2)
    if len(how) > 3 and how[3] not in (1, [1], [1, 1]):
        return slices(x, *how)
    return _batched(aten.max_pool2d)(x, *how)


def _dilated_or_single(node: fx.Node) -> bool:
    return pooling.is_dilated(node) or _has_no_batch(node)


def _around_or_far(node: fx.Node) -> bool:
    return padding.is_circular(node) or core_ml.pads_too_much(node)


def _max_pool_of_volumes(x: Tensor, *how: Any) -> Tensor:
    if len(how) > 3 and how[3] not in (1, [1], [1, 1, 1]):
        return pooling.maximum_of_slices(3)(x, *how)
    return core_ml.maximum_of_volume(x, *how)


def _dilated_or_ceil(node: fx.Node) -> bool:
    return pooling.is_dilated(node) or core_ml.has_ceil_mode(node)


def _pad_of_core_ml(x: Tensor, pad: Sequence[int], mode: str, value: Any = None) -> Tensor:
    run = padding.pad_around if mode == "circular" else core_ml.pad_by_axis
    return run(x, pad, mode, value)


def transposed_and_filled(rank: int) -> Callable[..., Tensor]:
    """A transposed convolution with `output_padding`: the whole of it, filled up and cut."""

    def run(
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        cut: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Tensor:
        steps, cuts, ends, apart = (
            [one] * rank if isinstance(one, int) else list(one) * (rank // len(one))
            for one in (stride, cut, output_padding, dilation)
        )
        call = getattr(torch.nn.functional, f"conv_transpose{rank}d")
        y = call(x, weight, None, steps, 0, 0, groups, apart)
        missing = [max(0, end - c) for end, c in zip(ends, cuts, strict=True)]
        if any(missing):
            widths = [width for one in reversed(missing) for width in (0, one)]
            y = torch.nn.functional.pad(y, widths)
        for axis, (c, end) in enumerate(zip(cuts, ends, strict=True), -rank):
            y = y.narrow(axis, c, y.shape[axis] - c - max(0, c - end))
        return y if bias is None else y + bias.reshape(-1, *(1,) * rank)

    return run


def _fills_strides(node: fx.Node) -> bool:
    """Whether `output_padding` is a stride or more, as dilation allows: ONNX has no such thing."""
    if len(node.args) < 6:
        return False
    given: list[Any] = [node.args[3], node.args[5]]
    strides, ends = ([one] if isinstance(one, int) else list(one) for one in given)
    return any(end and end >= min(strides) for end in ends)


def _fills(rank: int) -> Callable[[fx.Node], bool]:
    """Whether there is `output_padding`, and coremltools takes none: without padding, or in 3-D."""

    def is_one(node: fx.Node) -> bool:
        given: list[Any] = list(node.args[4:6]) + [0, 0][len(node.args[4:6]) :]
        cut, ends = ([one] if isinstance(one, int) else list(one) for one in given)
        return any(ends) and (rank == 3 or not any(cut))

    return is_one


def smallest_and_largest(x: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    axes = list(range(x.ndim)) if dim is None else [dim]
    return x.amin(axes, keepdim=keepdim), x.amax(axes, keepdim=keepdim)


def bilinear(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """nn.Bilinear: x @ weight[i] @ y for each feature i."""
    features, of_x, of_y = weight.shape
    by_x = torch.matmul(x, weight.permute(1, 0, 2).reshape(of_x, features * of_y))
    made = (by_x.unflatten(-1, (features, of_y)) * y.unsqueeze(-2)).sum(-1)
    return made if bias is None else made + bias


def _batched(pool: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A pool of one picture, as a batch of one."""
    return lambda x, *how, **named: pool(x.unsqueeze(0), *how, **named).squeeze(0)


def _averaged(x: Tensor, *how: Any) -> Tensor:
    """Of one picture as of a batch of one, and with divisors that Core ML gives, too."""
    if x.ndim == 3:
        return _averaged(x.unsqueeze(0), *how).squeeze(0)
    if core_ml.needs_divisors(x.ndim, how):
        return core_ml.average(x, *how)
    plain: Tensor = aten.avg_pool2d(x, *how)
    return plain


def gather_truths(x: Tensor, dim: int, index: Tensor, **_: Any) -> Tensor:
    """Core ML gathers numbers only."""
    return torch.gather(x.to(torch.int32), dim, index) != 0


def select_truths(x: Tensor, dim: int, index: Tensor) -> Tensor:
    return x.to(torch.int32).index_select(dim, index) != 0


def unfold(x: Tensor, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Tensor:
    """F.unfold (im2col): a slice for each place of the kernel."""
    if x.ndim == 3:
        return unfold(x.unsqueeze(0), kernel_size, dilation, padding, stride).squeeze(0)
    x = torch.nn.functional.pad(x, [padding[1], padding[1], padding[0], padding[0]])
    n, c, height, width = x.shape
    sizes = [
        (size - d * (k - 1) - 1) // s + 1
        for size, k, d, s in zip((height, width), kernel_size, dilation, stride, strict=True)
    ]
    parts = [
        x[
            :,
            :,
            i * dilation[0] : i * dilation[0] + (sizes[0] - 1) * stride[0] + 1 : stride[0],
            j * dilation[1] : j * dilation[1] + (sizes[1] - 1) * stride[1] + 1 : stride[1],
        ]
        for i in range(kernel_size[0])
        for j in range(kernel_size[1])
    ]
    return torch.stack(parts, 2).reshape(n, c * len(parts), sizes[0] * sizes[1])


def fold(
    x: Tensor, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Tensor:
    """F.fold (col2im): a transposed convolution whose kernels are a single 1 each.

    Channels are a batch to it: they do not mix.
    """
    how = list(zip(output_size, kernel_size, dilation, padding, stride, strict=True))
    counts = [(size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, d, p, s in how]
    ends = [
        (n - 1) * h[4] - 2 * h[3] + h[2] * (h[1] - 1) + 1 for n, h in zip(counts, how, strict=True)
    ]
    rest = [size - end for size, end in zip(output_size, ends, strict=True)]
    places = math.prod(kernel_size)
    ones = torch.eye(places).reshape(places, 1, *kernel_size)
    parts = x.reshape(-1, places, *counts)
    y = torch.nn.functional.conv_transpose2d(parts, ones, None, stride, padding, rest, 1, dilation)
    return y.reshape(*x.shape[:-2], x.shape[-2] // places, *output_size)


def windows(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """x.unfold(dimension, size, step): the places of all windows at once."""
    dimension %= x.ndim
    count = (x.shape[dimension] - size) // step + 1
    places = (np.arange(count)[:, None] * step + np.arange(size)).reshape(-1)
    found = x.index_select(dimension, torch.from_numpy(places))
    return found.unflatten(dimension, (count, size)).movedim(dimension + 1, -1)


def repeat_interleave(x: Tensor, repeats: Any, dim: int | None = None, **_: Any) -> Tensor:
    if dim is None:
        x, dim = x.reshape(-1), 0
    dim %= x.ndim
    times = np.broadcast_to(np.asarray(repeats), (x.shape[dim],))
    return x.index_select(dim, torch.from_numpy(np.repeat(np.arange(x.shape[dim]), times)))


def affine_grid(theta: Tensor, size: Any, align_corners: bool = False) -> Tensor:
    """The grid of places of F.affine_grid, in 2 dimensions: (N, H, W, 2)."""
    n, _, height, width = size
    axes = []
    for count in (width, height):
        edge = 1.0 if align_corners else 1 - 1 / count
        axes.append(np.linspace(-edge, edge, count, dtype=np.float64) if count > 1 else np.zeros(1))
    x, y = np.meshgrid(*axes)
    base = np.stack([x, y, np.ones_like(x)], -1).astype(np.float32).reshape(1, -1, 3)
    return torch.matmul(torch.from_numpy(base), theta.transpose(1, 2)).reshape(n, height, width, 2)


def _on_floats(node: fx.Node) -> bool:
    return bool(node.meta["val"].is_floating_point())


def _has(name: str) -> Callable[[fx.Node], bool]:
    return lambda node: node.kwargs.get(name, 1) not in (None, 1)


def _own_threshold(node: fx.Node) -> bool:
    """float32 does not tell log1p(exp(-20)), which is 2e-9, from 0."""
    given: list[Any] = list(node.args[1:])
    beta, threshold = given + [1, 20][len(given) :]
    return bool(beta != 1 or threshold < 20)


def _in_training(node: fx.Node) -> bool:
    return bool(node.args[5])


def _trains(node: fx.Node) -> bool:
    """`training`, `momentum` and `eps` come last, whether or not statistics do before them."""
    return bool(node.args[-3])


def _by_running_statistics(node: fx.Node) -> bool:
    return not node.args[5]


def projects(node: fx.Node) -> bool:
    """Whether an LSTM hands on fewer numbers than its cell has."""
    state: Any = node.args[1]
    return bool(state[0].meta["val"].shape[-1] != state[1].meta["val"].shape[-1])


def _is_flat(node: fx.Node) -> bool:
    return len(node.args) < 2 or node.args[1] is None


def _of_truths(node: fx.Node) -> bool:
    return all(
        isinstance(one, fx.Node) and one.meta["val"].dtype is torch.bool for one in node.args
    )


def _takes_truths(node: fx.Node) -> bool:
    source: Any = node.args[0]
    return bool(source.meta["val"].dtype is torch.bool)


def _has_no_batch(node: fx.Node) -> bool:
    source: Any = node.args[0]
    return bool(source.meta["val"].ndim == 3)


def _has_two_spatial_axes(node: fx.Node) -> bool:
    return len(node.args[1]) == 4  # type: ignore[arg-type]


def fftshift(x: Tensor, dim: Any = None) -> Tensor:
    """Frequency 0 goes to the middle."""
    axes = _shifted(x, dim)
    return roll(x, [x.shape[axis] // 2 for axis in axes], axes)


def ifftshift(x: Tensor, dim: Any = None) -> Tensor:
    axes = _shifted(x, dim)
    return roll(x, [-(x.shape[axis] // 2) for axis in axes], axes)


def _shifted(x: Tensor, dim: Any) -> list[int]:
    if dim is None:
        return list(range(x.ndim))
    return [dim] if isinstance(dim, int) else list(dim)


def matrix_transpose(x: Tensor) -> Tensor:
    return x.transpose(-1, -2)


def reversed_axes(x: Tensor) -> Tensor:
    return x.permute(*reversed(range(x.ndim)))


ALWAYS: Mapping[Any, Rule] = {
    aten._native_batch_norm_legit: Rule(native_batch_norm, _trains),
    aten._native_batch_norm_legit_functional: Rule(native_batch_norm, _trains),
    aten.adaptive_avg_pool1d: Rule(pooling.adaptive_average, pooling.does_not_divide),
    aten.adaptive_avg_pool2d: Rule(pooling.adaptive_average, pooling.does_not_divide),
    aten.adaptive_avg_pool3d: Rule(pooling.adaptive_average, pooling.does_not_divide),
    aten.adaptive_max_pool1d: Rule(pooling.adaptive_maximum, pooling.does_not_divide),
    aten.adaptive_max_pool2d: Rule(pooling.adaptive_maximum, pooling.does_not_divide),
    aten.adaptive_max_pool3d: Rule(pooling.adaptive_maximum),
    aten.add: Rule(add_scaled, _has("alpha")),
    aten.addcdiv: Rule(addcdiv),
    aten.addcmul: Rule(addcmul),
    aten.addmm: Rule(integers.whole_sum, integers.of_whole_numbers(1)),
    aten.addmv: Rule(integers.whole_sum, integers.of_whole_numbers(1)),
    aten.affine_grid_generator: Rule(affine_grid, _has_two_spatial_axes),
    aten.__and__: Rule(torch.logical_and, _of_truths),
    aten.__or__: Rule(torch.logical_or, _of_truths),
    aten.__xor__: Rule(torch.logical_xor, _of_truths),
    aten.aminmax: Rule(smallest_and_largest),
    aten.argmax: Rule(flat_argmax, _is_flat),
    aten.argmin: Rule(flat_argmin, _is_flat),
    aten.avg_pool2d: Rule(pooling.average_with_divisor(2), pooling.has_divisor),
    aten.avg_pool3d: Rule(pooling.average_with_divisor(3), pooling.has_divisor),
    aten.baddbmm: Rule(integers.whole_sum, integers.of_whole_numbers(1)),
    aten.batch_norm: Rule(batch_norm_of_batch, _in_training),
    aten._convolution: Rule(convolution),
    aten.bilinear: Rule(bilinear),
    aten.bmm: Rule(integers.whole_product, integers.of_whole_numbers(0)),
    aten.col2im: Rule(fold),
    aten.convolution: Rule(convolution),
    aten.conv_transpose1d: Rule(transposed_and_filled(1), _fills_strides),
    aten.conv_transpose2d: Rule(transposed_and_filled(2), _fills_strides),
    aten.conv_transpose3d: Rule(transposed_and_filled(3), _fills_strides),
    aten.copy: Rule(copy),
    aten.diagonal: Rule(places.diagonal),
    aten.diagonal_scatter: Rule(places.diagonal_scatter),
    aten.div: Rule(divide_rounded, lambda n: _has("rounding_mode")(n) and _on_floats(n)),
    aten.dot: Rule(integers.whole_product, integers.of_whole_numbers(0)),
    aten.fft_fftshift: Rule(fftshift),
    aten.fft_ifftshift: Rule(ifftshift),
    aten.fill: Rule(fill),
    aten.floor_divide: Rule(divide_rounded, _on_floats),
    aten.fmod: Rule(fmod, _on_floats),
    aten.frac: Rule(frac),
    aten.gather: Rule(places.gather_of_fewer, places.has_fewer_places),
    aten.glu: Rule(glu),
    aten.gru_cell: Rule(recurrent.gru_cell),
    aten.im2col: Rule(unfold),
    aten.index: Rule(places.index, places.is_plain_index, on_places=True),
    aten.index_add: Rule(places.index_add),
    aten.index_copy: Rule(places.index_copy, on_places=True),
    aten.index_fill: Rule(places.index_fill, on_places=True),
    aten.index_put: Rule(places.index_put, places.is_mask_or_places, on_places=True),
    aten.instance_norm: Rule(instance_norm_of_training, _by_running_statistics),
    aten.lerp: Rule(lerp),
    aten.linear: Rule(integers.whole_linear, integers.of_whole_numbers(0)),
    aten.lstm_cell: Rule(recurrent.lstm_cell),
    aten.matmul: Rule(integers.whole_product, integers.of_whole_numbers(0)),
    aten.mm: Rule(integers.whole_product, integers.of_whole_numbers(0)),
    aten.mv: Rule(integers.whole_product, integers.of_whole_numbers(0)),
    aten.pad: Rule(padding.pad_and_cut, padding.cuts),
    aten.remainder: Rule(remainder, _on_floats),
    aten.repeat_interleave: Rule(repeat_interleave, on_places=True),
    aten.rms_norm: Rule(rms_norm),
    aten.rnn_relu_cell: Rule(recurrent.rnn_relu_cell),
    aten.rnn_tanh_cell: Rule(recurrent.rnn_tanh_cell),
    aten.roll: Rule(roll),
    aten.select_scatter: Rule(select_scatter),
    aten.slice_scatter: Rule(slice_scatter),
    aten.softplus: Rule(softplus, _own_threshold),
    aten.sub: Rule(subtract_scaled, _has("alpha")),
    aten.take: Rule(places.take, on_places=True),
    aten.take_along_dim: Rule(places.take_along, on_places=True),
    aten.unfold: Rule(windows),
    aten.zero: Rule(zero),
    **{op: Rule(resizing.nearest_exact(op)) for op in resizing.EXACT},
    **{op: Rule(resizing.resized(op)) for op in resizing.NOT_HELD},
    **{op: Rule(resizing.resized(op), resizing.goes_by_scale) for op in resizing.LINEAR},
}
"""For every converter."""

FOR_ONNX: Mapping[Any, Rule] = {
    aten.argsort: Rule(argsort),
    aten.lstm: Rule(recurrent.lstm, projects),
    aten.scaled_dot_product_attention: Rule(attention),
}
"""For our lowering alone: coremltools has its own way."""


FOR_CORE_ML: Mapping[Any, Rule] = {
    **core_ml_operands.rules(Rule),
    aten.adaptive_avg_pool3d: Rule(pooling.adaptive_average),
    aten.adjoint: Rule(matrix_transpose),
    aten.avg_pool1d: Rule(core_ml.average, core_ml.overhangs),
    aten.avg_pool2d: Rule(_averaged, lambda n: _has_no_batch(n) or core_ml.overhangs(n)),
    aten.avg_pool3d: Rule(core_ml.average, core_ml.overhangs),
    aten.conv_transpose1d: Rule(transposed_and_filled(1), _fills(1)),
    aten.conv_transpose2d: Rule(transposed_and_filled(2), _fills(2)),
    aten.conv_transpose3d: Rule(transposed_and_filled(3), _fills(3)),
    aten.fmod: Rule(fmod_of_integers),
    aten.gather: Rule(gather_truths, _takes_truths),
    aten.grid_sampler: Rule(sampling.sample, sampling.differs),
    aten.grid_sampler_2d: Rule(sampling.sample, sampling.differs),
    aten.index_select: Rule(select_truths, _takes_truths),
    aten.mH: Rule(matrix_transpose),
    aten.mT: Rule(matrix_transpose),
    aten.matrix_H: Rule(matrix_transpose),
    aten.max_pool1d: Rule(pooling.maximum_of_slices(1), pooling.is_dilated),
    aten.max_pool2d: Rule(_max_pool_of_core_ml, _dilated_or_single),
    aten.max_pool3d: Rule(_max_pool_of_volumes, _dilated_or_ceil),
    aten.numpy_T: Rule(reversed_axes),
    aten.pad: Rule(_pad_of_core_ml, _around_or_far),
    **{
        op: Rule(resizing.resized_for_core_ml(op), resizing.differs)
        for op in (*resizing.PICKING, *resizing.LINEAR)
    },
}
"""For coremltools alone."""
