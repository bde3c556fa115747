"""Pools that converters do not hold, written with those that they do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

F: Any = torch.nn.functional


def adaptive_average(x: Tensor, output_size: Any) -> Tensor:
    """Where sizes do not divide: one constant matrix an axis."""
    sizes = [output_size] if isinstance(output_size, int) else list(output_size)
    spatial = x.shape[-len(sizes) :]
    wanted = [have if want is None else want for want, have in zip(sizes, spatial, strict=True)]
    for axis, (want, have) in enumerate(zip(wanted, spatial, strict=True)):
        if want != have:
            x = mixed(x, axis - len(wanted), _window_means(have, want))
    return x


def mixed(x: Tensor, place: int, shares: Tensor) -> Tensor:
    """Each result on an axis a sum of what is on it; `shares` are (new size, size)."""
    return torch.matmul(x.transpose(place, -1), shares.t()).transpose(place, -1)


def _windows(have: int, want: int) -> list[range]:
    """PyTorch's windows of adaptive pooling."""
    return [range(i * have // want, -(-(i + 1) * have // want)) for i in range(want)]


def _window_means(have: int, want: int) -> Tensor:
    rows = np.zeros((want, have), np.float32)
    for row, window in enumerate(_windows(have, want)):
        rows[row, window.start : window.stop] = 1 / len(window)
    return torch.from_numpy(rows)


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


def does_not_divide(node: fx.Node) -> bool:
    source: Any = node.args[0]
    wanted: Any = node.args[1]
    have = source.meta["val"].shape[-len(wanted) :]
    return any(w is not None and h % w for w, h in zip(wanted, have, strict=True))


def average_with_divisor(rank: int) -> Callable[..., Tensor]:
    """A divisor of its own: the mean over whole windows, rescaled."""

    def run(
        x: Tensor,
        kernel: Any,
        stride: Any = (),
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int = 1,
    ) -> Tensor:
        size, steps, pads = _each(rank, kernel, stride or kernel, padding)
        x = _filled(x, size, steps, pads, ceil_mode)
        return _average(rank)(x, size, steps) * (math.prod(size) / divisor_override)

    return run


def maximum_of_slices(rank: int) -> Callable[..., Tensor]:
    """The largest of a slice for each place of the kernel, one axis after the other."""

    def run(
        x: Tensor,
        kernel: Any,
        stride: Any = (),
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> Tensor:
        size, steps, pads, apart = _each(rank, kernel, stride or kernel, padding, dilation)
        reach = [d * (k - 1) + 1 for d, k in zip(apart, size, strict=True)]
        have = x.shape[-rank:]
        x = _filled(x, reach, steps, pads, ceil_mode, -math.inf)
        for axis, (k, d, s) in enumerate(zip(size, apart, steps, strict=True), -rank):
            made = _made(have[axis], reach[axis], s, pads[axis], ceil=ceil_mode)
            length = (made - 1) * s + 1
            parts = [_stepped(x, axis, i * d, i * d + length, s) for i in range(k)]
            x = parts[0]
            for part in parts[1:]:
                x = torch.maximum(x, part)
        return x

    return run


def _stepped(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    found: Tensor = torch.ops.aten.slice.Tensor(x, axis % x.ndim, start, end, step)
    return found


def _average(rank: int) -> Callable[..., Tensor]:
    pool: Callable[..., Tensor] = getattr(F, f"avg_pool{rank}d")
    return pool


def _each(rank: int, *given: Any) -> list[list[int]]:
    """Each as one number an axis."""
    lists = [[one] if isinstance(one, int) else list(one) for one in given]
    return [one * rank if len(one) == 1 else one for one in lists]


def _made(have: int, reach: int, step: int, pad: int, *, ceil: bool) -> int:
    """How many windows PyTorch makes of an axis: none begins behind the data."""
    count = (have + 2 * pad - reach + (step - 1 if ceil else 0)) // step + 1
    return count - 1 if ceil and (count - 1) * step >= have + pad else count


def _filled(
    x: Tensor,
    reach: Sequence[int],
    steps: Sequence[int],
    pads: Sequence[int],
    ceil: bool,
    value: float = 0.0,
) -> Tensor:
    """The input padded, or cut, so that whole windows alone are made of it."""
    rank, widths = len(reach), list[int]()
    for axis, (k, s, p) in enumerate(zip(reach, steps, pads, strict=True), -rank):
        have = x.shape[axis]
        after = (_made(have, k, s, p, ceil=ceil) - 1) * s + k - have - p
        if after < 0:
            x = x.narrow(axis, 0, have + after)
        widths = [p, max(after, 0), *widths]
    padded: Tensor = F.pad(x, widths, value=value) if any(widths) else x
    return padded


def has_divisor(node: fx.Node) -> bool:
    return len(node.args) > 6 and node.args[6] is not None


def is_dilated(node: fx.Node) -> bool:
    dilation: Any = node.args[4] if len(node.args) > 4 else 1
    return any(d != 1 for d in ([dilation] if isinstance(dilation, int) else dilation))
