"""What Core ML refuses or computes otherwise than PyTorch, written with what both agree on.

The rules of Core ML that this follows, with their sources, are `converters.mil.rules`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx

AVERAGES = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def windows(size: int, kernel: int, stride: int, pad: int, ceil: bool) -> int:
    """How many windows PyTorch has on an axis: with `ceil`, none that begins after the data."""
    rest = size + 2 * pad - kernel
    count = (-(-rest // stride) if ceil else rest // stride) + 1
    return count - 1 if ceil and (count - 1) * stride >= size + pad else count


def average(
    x: Tensor,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Average pooling without ceil_mode, or with its overhang counted as padding.

    Core ML divides a window that hangs over by the whole kernel, PyTorch by what lies within the
    data and its padding. Where only the overhang is left out, Core ML can leave it out, too; else
    what hangs over is padded with zeros, and each mean rescaled by a constant.
    """
    axes, (kernel, stride, padding) = _spatial(kernel, stride or kernel, padding, like=x)
    batched = x if x.ndim == axes + 2 else x.unsqueeze(0)
    pool = AVERAGES[axes]
    if axes < 3 and not any(padding) and divisor_override is None:
        y = pool(batched, kernel, stride, 0, True, False)
    else:
        sizes = batched.shape[2:]
        how = list(zip(sizes, kernel, stride, padding, strict=True))
        counts = [windows(*one, ceil_mode) for one in how]
        y = pool(_reached(batched, how, counts), kernel, stride)
        shares = [_counted(*one, n, count_include_pad) for one, n in zip(how, counts, strict=True)]
        if divisor_override is not None:
            y = y * (math.prod(kernel) / divisor_override)
        elif any((share != k).any() for share, k in zip(shares, kernel, strict=True)):
            y = y * _product([k / share for share, k in zip(shares, kernel, strict=True)])
    return y if x.ndim == axes + 2 else y.squeeze(0)


def _spatial(*given: Any, like: Tensor) -> tuple[int, list[list[int]]]:
    """How many axes are pooled, and each argument as so many numbers."""
    axes = max(len(one) if isinstance(one, Sequence) else 1 for one in given)
    axes = max(axes, like.ndim - 2)
    lists = [list(one) if isinstance(one, Sequence) else [one] for one in given]
    return axes, [one * axes if len(one) == 1 else one for one in lists]


def _reached(x: Tensor, how: Sequence[tuple[int, ...]], counts: list[int]) -> Tensor:
    """The data with its padding, and with zeros as far as the last windows hang over."""
    pads: list[int] = []
    for (size, kernel, stride, pad), count in zip(how, counts, strict=True):
        pads = [pad, max(0, (count - 1) * stride + kernel - size - pad), *pads]
    return F.pad(x, pads) if any(pads) else x


def _counted(
    size: int, kernel: int, stride: int, pad: int, count: int, with_pad: bool
) -> np.ndarray:
    """What PyTorch divides by on an axis, of each window."""
    first = np.arange(count) * stride - pad
    last = np.minimum(first + kernel, size + (pad if with_pad else 0))
    return last - (first if with_pad else np.maximum(first, 0))


def _product(factors: list[np.ndarray]) -> Tensor:
    """The outer product of the axes' factors, in float32."""
    whole = np.ones(())
    for factor in factors:
        whole = whole[..., None] * factor
    return torch.from_numpy(whole.astype(np.float32))


def needs_divisors(rank: int, how: Sequence[Any]) -> bool:
    """Whether an average pooling, told all this, has a divisor that Core ML does not give it."""
    given = [*how, *(None, (), 0, False, True, None)[len(how) :]]
    kernel, _, _, ceil, with_pad, divisor = given
    volume = rank > 4 or (not isinstance(kernel, int) and len(kernel) == 3)
    return bool((ceil and (with_pad or volume)) or divisor is not None)


def overhangs(node: fx.Node) -> bool:
    source: Any = node.args[0]
    return needs_divisors(source.meta["val"].ndim, node.args[1:])


def maximum_of_volume(
    x: Tensor,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """With ceil_mode: the last element again, as far as the last windows hang over."""
    _, (kernel, stride, padding) = _spatial(kernel, stride or kernel, padding, like=x)
    first = x.ndim - 3
    for axis, (k, s, p) in enumerate(zip(kernel, stride, padding, strict=True), first):
        size = x.shape[axis]
        over = (windows(size, k, s, p, True) - 1) * s + k - size - 2 * p
        if over > 0:
            x = torch.cat([x, *[x.narrow(axis, size - 1, 1)] * over], axis)
    return F.max_pool3d(x, kernel, stride, padding, dilation)


def has_ceil_mode(node: fx.Node) -> bool:
    """Of a pool without dilation, which is not asked for its places."""
    args: Any = node.args
    return len(args) > 5 and bool(args[5]) and args[4] in (1, [1, 1, 1], (1, 1, 1), [1])


def pad_by_axis(
    x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Pads that reflect or repeat: on the last two axes, and an axis after the other before them.

    An edge is repeated as often as Core ML does it at once: as often as there are elements.
    """
    pairs = list(zip(pad[::2], pad[1::2], strict=True))
    while any(map(any, pairs)):
        most = [x.shape[-1 - place] for place in range(len(pairs))]
        step = [(min(b, n), min(a, n)) for (b, a), n in zip(pairs, most, strict=True)]
        x = _padded_at_the_end(x, step[:2], mode)
        for place, one in enumerate(step[2:], 2):
            last = x.transpose(-1 - place, -1)
            x = _padded_at_the_end(last, [one], mode).transpose(-1 - place, -1)
        pairs = [(b - c, a - d) for (b, a), (c, d) in zip(pairs, step, strict=True)]
    return x


def _padded_at_the_end(x: Tensor, pairs: list[tuple[int, int]], mode: str) -> Tensor:
    if not any(map(any, pairs)):
        return x
    # PyTorch pads by two axes fewer than there are, or by one.
    pairs = pairs + [(0, 0)] * (max(1, x.ndim - 2) - len(pairs))
    return F.pad(x, [count for pair in pairs for count in pair], mode=mode)


def pads_too_much(node: fx.Node) -> bool:
    """Whether Core ML does not reflect or repeat like that at once."""
    args: Any = node.args
    pad, mode = args[1], args[2] if len(args) > 2 else "constant"
    if mode not in ("reflect", "replicate") or min(pad) < 0:
        return False
    sizes = args[0].meta["val"].shape
    wide = any(count > sizes[-1 - place // 2] for place, count in enumerate(pad))
    return any(pad[4:]) or (mode == "replicate" and wide)


def log_softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Not the logarithm of the softmax, which is that of 0 where PyTorch's is far below 0."""
    off = (x if dtype is None else x.to(dtype)) - x.amax(dim, keepdim=True)
    return off - torch.log(torch.exp(off).sum(dim, keepdim=True))
