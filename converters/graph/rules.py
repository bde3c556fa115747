"""Operations that converters do not hold, written with those that they do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from converters.graph import core_ml, integers, recurrent, sampling
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


def adaptive_average(x: Tensor, output_size: Any) -> Tensor:
    """Where sizes do not divide: one constant matrix an axis."""
    sizes = [output_size] if isinstance(output_size, int) else list(output_size)
    spatial = x.shape[-len(sizes) :]
    wanted = [have if want is None else want for want, have in zip(sizes, spatial, strict=True)]
    for axis, (want, have) in enumerate(zip(wanted, spatial, strict=True)):
        if want != have:
            place = axis - len(wanted)
            x = torch.matmul(x.transpose(place, -1), _window_means(have, want).t()).transpose(
                place, -1
            )
    return x


def _windows(have: int, want: int) -> list[range]:
    """PyTorch's windows of adaptive pooling."""
    return [range(i * have // want, -(-(i + 1) * have // want)) for i in range(want)]


def _window_means(have: int, want: int) -> Tensor:
    rows = torch.zeros(want, have)
    for row, window in enumerate(_windows(have, want)):
        rows[row, window.start : window.stop] = 1 / len(window)
    return rows


def adaptive_maximum(x: Tensor, output_size: Any) -> Any:
    sizes = [output_size] if isinstance(output_size, int) else list(output_size)
    spatial = x.shape[-len(sizes) :]
    for axis, (want, have) in enumerate(zip(sizes, spatial, strict=True)):
        place = axis - len(sizes)
        if want != have:
            found = [
                x.narrow(place, w.start, len(w)).amax(place, keepdim=True)
                for w in _windows(have, want)
            ]
            x = torch.cat(found, place)
    return (x, None)


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


def average_with_divisor(
    x: Tensor,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int = 1,
) -> Tensor:
    """A divisor of its own: the mean over the whole window, rescaled."""
    kernel = [kernel, kernel] if isinstance(kernel, int) else list(kernel)
    kernel = kernel * 2 if len(kernel) == 1 else kernel
    mean = torch.nn.functional.avg_pool2d(x, kernel, stride or kernel, padding, ceil_mode, True)
    return mean * (math.prod(kernel) / divisor_override)


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


def gather_of_fewer(x: Tensor, dim: int, places: Any, **_: Any) -> Tensor:
    """Along the other axes, only as many as there are places."""
    places = torch.as_tensor(places)
    for axis, size in enumerate(places.shape):
        if axis != dim % x.ndim and size != x.shape[axis]:
            x = x.narrow(axis, 0, size)
    return x.gather(dim, places)


def nearest_by_scale(x: Tensor, size: Any, *scales: Any) -> Tensor:
    """By a scale that is not the ratio of the sizes: the places, computed as PyTorch does."""
    scales = tuple(scales[0]) if isinstance(scales[0], (list, tuple)) else scales
    first = x.ndim - len(scales)
    for axis, scale in enumerate(scales, first):
        have = x.shape[axis]
        want = int(have * scale) if size is None else size[axis - first]
        if want == have:
            continue
        step = np.float32(1 / scale)
        if len(scales) > 1 and want == 2 * have:
            step = np.float32(0.5)
        places = np.floor(np.arange(want, dtype=np.float32) * step).astype(np.int64)
        x = x.index_select(axis, torch.from_numpy(np.minimum(places, have - 1)))
    return x


def index(x: Tensor, indices: Any) -> Tensor:
    """x[:, i, j]: tensors of places along axes that follow one another, as one axis."""
    first, count, places = _places(x, indices)
    shape = x.shape
    flat = x.reshape(*shape[:first], -1, *shape[first + count :])
    taken = flat.index_select(first, places.reshape(-1))
    return taken.reshape(*shape[:first], *places.shape, *shape[first + count :])


def _places(x: Tensor, indices: Any) -> tuple[int, int, Tensor]:
    """The first axis, how many, and the places on them as on one axis."""
    axes = [axis for axis, one in enumerate(indices) if one is not None]
    first, count = axes[0], len(axes)
    sizes = [x.shape[axis] for axis in axes]
    places: Any = 0
    for size, axis in zip(sizes, axes, strict=True):
        one = torch.as_tensor(_numbered(indices[axis])).to(torch.int64)
        if one.numel():
            one = torch.where(one < 0, one + size, one)
        places = places * size + one
    return first, count, places


def _numbered(places: Any) -> Any:
    """Of a mask that is a constant, the places where it holds."""
    if isinstance(places, np.ndarray) and places.dtype == bool:
        return np.flatnonzero(places)
    return places


def index_put(x: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """Where a mask holds, or at places; what constants of these need is computed here."""
    x, values = torch.as_tensor(x), torch.as_tensor(values)
    if accumulate or any(isinstance(one, Tensor) and one.dtype != torch.bool for one in indices):
        return _put_at_places(x, indices, values, accumulate)
    mask = indices[0]
    if isinstance(mask, np.ndarray) and mask.ndim > 1:
        mask = torch.from_numpy(mask)
    if len(indices) == 1 and isinstance(mask, Tensor) and mask.dtype is torch.bool:
        return torch.where(mask.reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim)), values, x)
    axes = [axis for axis, one in enumerate(indices) if one is not None]
    first, count = axes[0], len(axes)
    arrays = np.broadcast_arrays(*(_numbered(indices[axis]) for axis in axes))
    sizes = [x.shape[axis] for axis in axes]
    flat = np.ravel_multi_index([a % n for a, n in zip(arrays, sizes, strict=True)], sizes)
    shape = x.shape
    rest = shape[first + count :]
    values = values.expand(*shape[:first], *arrays[0].shape, *rest)
    values = values.reshape(*shape[:first], -1, *rest)
    size = math.prod(sizes)
    whole = torch.cat([x.reshape(*shape[:first], size, *rest), values], first)
    order = np.arange(size)
    order[flat.reshape(-1)] = size + np.arange(flat.size)
    return whole.index_select(first, torch.from_numpy(order)).reshape(shape)


def _put_at_places(x: Tensor, indices: Any, values: Tensor, accumulate: bool) -> Tensor:
    """x[:, i, j] = values, or += values: the axes of the places as one axis."""
    if x.dtype is torch.bool:
        return _put_at_places(x.to(torch.int32), indices, values.to(torch.int32), accumulate) != 0
    first, count, places = _places(x, indices)
    lead, rest = x.shape[:first], x.shape[first + count :]
    values = values.expand(*lead, *places.shape, *rest).reshape(*lead, -1, *rest)
    where = places.reshape(*(1,) * first, -1, *(1,) * len(rest)).expand(values.shape)
    flat = x.reshape(*lead, -1, *rest)
    put = flat.scatter_add if accumulate else flat.scatter
    return put(first, where, values).reshape(x.shape)


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


def _does_not_divide(node: fx.Node) -> bool:
    source: Any = node.args[0]
    wanted: Any = node.args[1]
    have = source.meta["val"].shape[-len(wanted) :]
    return any(w is not None and h % w for w, h in zip(wanted, have, strict=True))


def _has(name: str) -> Callable[[fx.Node], bool]:
    return lambda node: node.kwargs.get(name, 1) not in (None, 1)


def _own_threshold(node: fx.Node) -> bool:
    """float32 does not tell log1p(exp(-20)), which is 2e-9, from 0."""
    given: list[Any] = list(node.args[1:])
    beta, threshold = given + [1, 20][len(given) :]
    return bool(beta != 1 or threshold < 20)


def _has_divisor(node: fx.Node) -> bool:
    return len(node.args) > 6 and node.args[6] is not None and not node.args[4]


def _in_training(node: fx.Node) -> bool:
    return bool(node.args[5])


def _trains(node: fx.Node) -> bool:
    """`training`, `momentum` and `eps` come last, whether or not statistics do before them."""
    return bool(node.args[-3])


def _by_running_statistics(node: fx.Node) -> bool:
    return not node.args[5]


def _is_plain_index(node: fx.Node) -> bool:
    """Places, or a mask that is a constant, on axes that follow one another."""
    given = _indices(node)
    return given is not None and all(_is_place(one) for one in given)


def _is_mask_or_places(node: fx.Node) -> bool:
    """One mask, or places on axes that follow one another; nothing is added where a mask holds."""
    given = _indices(node)
    if given is None:
        return False
    whole, adds = node.args[1], len(node.args) > 3 and node.args[3]
    if len(given) == 1 and len(whole) == 1 and given[0].meta["val"].dtype is torch.bool:  # type: ignore[arg-type]
        return not adds
    return all(map(_is_place, given))


def _indices(node: fx.Node) -> list[fx.Node] | None:
    """The indices that there are; None where they are not on axes that follow one another."""
    indices: Any = node.args[1]
    axes = [axis for axis, one in enumerate(indices) if one is not None]
    adjacent = axes == list(range(axes[0], axes[0] + len(axes)))
    return [indices[axis] for axis in axes] if adjacent else None


def _is_place(index: fx.Node) -> bool:
    value = index.meta["val"]
    if value.dtype is torch.bool:
        return bool(index.op == "get_attr" and value.ndim == 1)
    return True


def projects(node: fx.Node) -> bool:
    """Whether an LSTM hands on fewer numbers than its cell has."""
    state: Any = node.args[1]
    return bool(state[0].meta["val"].shape[-1] != state[1].meta["val"].shape[-1])


def _is_flat(node: fx.Node) -> bool:
    return len(node.args) < 2 or node.args[1] is None


def _has_fewer_places(node: fx.Node) -> bool:
    x, dim, places = node.args[:3]
    have, want = x.meta["val"].shape, places.meta["val"].shape  # type: ignore[union-attr]
    axis = dim % max(len(have), 1)  # type: ignore[operator]
    return any(i != axis and w != h for i, (w, h) in enumerate(zip(want, have, strict=True)))


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


def _scale_is_no_ratio(node: fx.Node) -> bool:
    source: Any = node.args[0]
    have, want = source.meta["val"].shape[2:], node.meta["val"].shape[2:]
    scales: Any = node.args[2:]
    if len(scales) == 1 and isinstance(scales[0], (list, tuple)):
        scales = scales[0]
    if len(scales) != len(have) or None in scales:
        return False
    return any(s != w / h for s, w, h in zip(scales, want, have, strict=True))


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


def index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """Rows are added at places, which are those of each of their numbers."""
    shape = [1] * source.ndim
    shape[dim % source.ndim] = source.shape[dim]
    added = source if alpha == 1 else source * alpha
    return x.scatter_add(dim, index.reshape(shape).expand(source.shape), added)


def matrix_transpose(x: Tensor) -> Tensor:
    return x.transpose(-1, -2)


def reversed_axes(x: Tensor) -> Tensor:
    return x.permute(*reversed(range(x.ndim)))


ALWAYS: Mapping[Any, Rule] = {
    aten._native_batch_norm_legit: Rule(native_batch_norm, _trains),
    aten._native_batch_norm_legit_functional: Rule(native_batch_norm, _trains),
    aten.adaptive_avg_pool1d: Rule(adaptive_average, _does_not_divide),
    aten.adaptive_avg_pool2d: Rule(adaptive_average, _does_not_divide),
    aten.adaptive_max_pool2d: Rule(adaptive_maximum, _does_not_divide),
    aten.add: Rule(add_scaled, _has("alpha")),
    aten.addcdiv: Rule(addcdiv),
    aten.addcmul: Rule(addcmul),
    aten.addmm: Rule(integers.whole_sum, integers.of_whole_numbers(1)),
    aten.addmv: Rule(integers.whole_sum, integers.of_whole_numbers(1)),
    aten.affine_grid_generator: Rule(affine_grid, _has_two_spatial_axes),
    aten.__and__: Rule(torch.logical_and, _of_truths),
    aten.__or__: Rule(torch.logical_or, _of_truths),
    aten.__xor__: Rule(torch.logical_xor, _of_truths),
    aten.argmax: Rule(flat_argmax, _is_flat),
    aten.argmin: Rule(flat_argmin, _is_flat),
    aten.avg_pool2d: Rule(average_with_divisor, _has_divisor),
    aten.baddbmm: Rule(integers.whole_sum, integers.of_whole_numbers(1)),
    aten.batch_norm: Rule(batch_norm_of_batch, _in_training),
    aten._convolution: Rule(convolution),
    aten.bmm: Rule(integers.whole_product, integers.of_whole_numbers(0)),
    aten.col2im: Rule(fold),
    aten.convolution: Rule(convolution),
    aten.copy: Rule(copy),
    aten.div: Rule(divide_rounded, lambda n: _has("rounding_mode")(n) and _on_floats(n)),
    aten.dot: Rule(integers.whole_product, integers.of_whole_numbers(0)),
    aten.fft_fftshift: Rule(fftshift),
    aten.fft_ifftshift: Rule(ifftshift),
    aten.fill: Rule(fill),
    aten.floor_divide: Rule(divide_rounded, _on_floats),
    aten.fmod: Rule(fmod, _on_floats),
    aten.frac: Rule(frac),
    aten.gather: Rule(gather_of_fewer, _has_fewer_places),
    aten.glu: Rule(glu),
    aten.gru_cell: Rule(recurrent.gru_cell),
    aten.im2col: Rule(unfold),
    aten.index: Rule(index, _is_plain_index, on_places=True),
    aten.index_add: Rule(index_add),
    aten.index_put: Rule(index_put, _is_mask_or_places, on_places=True),
    aten.instance_norm: Rule(instance_norm_of_training, _by_running_statistics),
    aten.lerp: Rule(lerp),
    aten.linear: Rule(integers.whole_linear, integers.of_whole_numbers(0)),
    aten.lstm_cell: Rule(recurrent.lstm_cell),
    aten.matmul: Rule(integers.whole_product, integers.of_whole_numbers(0)),
    aten.mm: Rule(integers.whole_product, integers.of_whole_numbers(0)),
    aten.mv: Rule(integers.whole_product, integers.of_whole_numbers(0)),
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
    aten.unfold: Rule(windows),
    aten.zero: Rule(zero),
}
"""For every converter."""

FOR_ONNX: Mapping[Any, Rule] = {
    aten.argsort: Rule(argsort),
    aten.lstm: Rule(recurrent.lstm, projects),
    aten.scaled_dot_product_attention: Rule(attention),
}
"""For our lowering alone: coremltools has its own way."""


FOR_CORE_ML: Mapping[Any, Rule] = {
    aten.adjoint: Rule(matrix_transpose),
    aten.avg_pool1d: Rule(core_ml.average, core_ml.overhangs),
    aten.avg_pool2d: Rule(_averaged, lambda n: _has_no_batch(n) or core_ml.overhangs(n)),
    aten.avg_pool3d: Rule(core_ml.average, core_ml.overhangs),
    aten.gather: Rule(gather_truths, _takes_truths),
    aten.grid_sampler: Rule(sampling.sample_bicubic, sampling.is_bicubic),
    aten.grid_sampler_2d: Rule(sampling.sample_bicubic, sampling.is_bicubic),
    aten.index_select: Rule(select_truths, _takes_truths),
    aten.mH: Rule(matrix_transpose),
    aten.mT: Rule(matrix_transpose),
    aten.matrix_H: Rule(matrix_transpose),
    aten.max_pool2d: Rule(_batched(aten.max_pool2d), _has_no_batch),
    aten.max_pool3d: Rule(core_ml.maximum_of_volume, core_ml.has_ceil_mode),
    aten.numpy_T: Rule(reversed_axes),
    aten.pad: Rule(core_ml.pad_by_axis, core_ml.pads_too_much),
    aten.upsample_nearest1d: Rule(nearest_by_scale, _scale_is_no_ratio),
    aten.upsample_nearest2d: Rule(nearest_by_scale, _scale_is_no_ratio),
}
"""For coremltools alone."""
