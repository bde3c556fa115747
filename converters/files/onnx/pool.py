"""Windows that slide: maxima and means, and those over everything."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.files.onnx.call import Layer, NodeCall, NodeOperation
from converters.files.onnx.conv import frame, pads_of

MAXIMA: tuple[Any, ...] = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
INDEXED = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
MEANS: tuple[Any, ...] = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
MEAN_FUNCTIONS: tuple[Any, ...] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


class _Windows:
    """The windows of a pooling, per spatial axis."""

    def __init__(self, call: NodeCall, read: Any) -> None:
        self.kernel = tuple(read.kernel_shape)
        self.count = len(self.kernel)
        if not 1 <= self.count <= 3 or call.rank() != self.count + 2:
            raise call.refuse(f"{call.rank() - 2} spatial dimensions")
        self.strides = tuple(read.strides or (1,) * self.count)
        self.dilations = tuple(read.dilations or (1,) * self.count)
        self.before, self.after = pads_of(call, read, self.kernel, self.strides, self.dilations)
        self.ceil = bool(read.ceil_mode) and read.auto_pad == "NOTSET"
        self.sizes = call.shape()[2:]

    @property
    def reach(self) -> tuple[int, ...]:
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def plain(self) -> bool:
        """Whether PyTorch takes these paddings as they are."""
        half = all(2 * p <= k for p, k in zip(self.before, self.kernel, strict=True))
        return self.before == self.after and half

    @property
    def whole(self) -> tuple[int, ...]:
        """What is padded after each axis so that every window lies in it."""
        found = []
        for axis, size in enumerate(self.sizes):
            stride, before, after = self.strides[axis], self.before[axis], self.after[axis]
            room = size + before + after - self.reach[axis]
            count = (-(-room // stride) if self.ceil else room // stride) + 1
            if self.ceil and (count - 1) * stride >= size + before:
                count -= 1  # a window that would begin in the padding
            found.append(max(after, (count - 1) * stride + self.reach[axis] - size - before))
        return tuple(found)


def max_pool(call: NodeCall) -> Layer:
    read = call.read(
        auto_pad="NOTSET",
        ceil_mode=0,
        dilations=None,
        kernel_shape=(),
        pads=None,
        storage_order=0,
        strides=None,
    )
    windows = _Windows(call, read)
    settings: dict[str, Any] = {"stride": windows.strides, "dilation": windows.dilations}
    if any(call.wanted[1:]):
        if not windows.plain or read.storage_order:
            raise call.refuse("the places of its maxima, with these pads or storage_order")
        function = INDEXED[windows.count - 1]
        settings |= {"padding": windows.before, "ceil_mode": windows.ceil}
        return call.apply(_indexed, 0, function=function, kernel=windows.kernel, settings=settings)
    kind = MAXIMA[windows.count - 1]
    if windows.plain:
        module = kind(windows.kernel, padding=windows.before, ceil_mode=windows.ceil, **settings)
        return Layer(module, (0,))
    pad = NodeOperation(
        "Pad", partial(F.pad, pad=frame(windows.before, windows.whole), value=-torch.inf)
    )
    return Layer(nn.Sequential(pad, kind(windows.kernel, **settings)), (0,))


def _indexed(value: Tensor, function: Any, kernel: Any, settings: Any) -> tuple[Tensor, Tensor]:
    """Places are counted through the whole tensor; PyTorch's within each plane."""
    found, places = function(value, kernel, return_indices=True, **settings)
    plane = value[0, 0].numel()
    planes = torch.arange(value.shape[0] * value.shape[1]) * plane
    return found, places + planes.reshape(*value.shape[:2], *(1,) * (value.ndim - 2))


def average_pool(call: NodeCall) -> Layer:
    read = call.read(
        auto_pad="NOTSET",
        ceil_mode=0,
        count_include_pad=0,
        dilations=None,
        kernel_shape=(),
        pads=None,
        strides=None,
    )
    windows = _Windows(call, read)
    if set(windows.dilations) != {1}:
        raise call.refuse("dilation")
    inside = bool(read.count_include_pad)
    if windows.plain:
        kind = MEANS[windows.count - 1]
        settings: dict[str, Any] = {"padding": windows.before, "ceil_mode": windows.ceil}
        module = kind(windows.kernel, windows.strides, count_include_pad=inside, **settings)
        return Layer(module, (0,))
    return Layer(_Mean(windows, inside), (0,))


class _Mean(nn.Module):
    """A mean over what is counted of each window: sums of zeros around, times a constant."""

    share: Tensor

    def __init__(self, windows: _Windows, inside: bool) -> None:
        super().__init__()
        self.kernel, self.strides = windows.kernel, windows.strides
        self.function = MEAN_FUNCTIONS[windows.count - 1]
        self.pad = frame(windows.before, windows.whole)
        counted = torch.ones(1, 1, *windows.sizes)
        if inside:
            counted = F.pad(counted, frame(windows.before, windows.after), value=1.0)
            rest = [w - a for w, a in zip(windows.whole, windows.after, strict=True)]
            counted = F.pad(counted, frame((0,) * windows.count, rest))
        else:
            counted = F.pad(counted, self.pad)
        share = 1 / self.function(counted, self.kernel, self.strides)
        self.register_buffer("share", share)

    def forward(self, value: Tensor) -> Tensor:
        found: Tensor = self.function(F.pad(value, self.pad), self.kernel, self.strides)
        return found * self.share


def lp_pool(call: NodeCall) -> Layer:
    read = call.read(
        auto_pad="NOTSET",
        ceil_mode=0,
        dilations=None,
        kernel_shape=(),
        p=2,
        pads=None,
        strides=None,
    )
    windows = _Windows(call, read)
    if set(windows.dilations) != {1}:
        raise call.refuse("dilation")
    return call.apply(
        _lp,
        0,
        p=float(read.p),
        pad=frame(windows.before, windows.whole),
        function=partial(
            MEAN_FUNCTIONS[windows.count - 1], kernel_size=windows.kernel, stride=windows.strides
        ),
        count=torch.Size(windows.kernel).numel(),
    )


def _lp(value: Tensor, p: float, pad: Sequence[int], function: Any, count: int) -> Tensor:
    found: Tensor = function(F.pad(value.abs().pow(p), pad)) * count
    return found.pow(1 / p)


def global_average_pool(call: NodeCall) -> Layer:
    call.read()
    if call.rank() == 4:
        return Layer(nn.AdaptiveAvgPool2d(1), (0,))
    return call.apply(torch.mean, 0, dim=tuple(range(2, call.rank())), keepdim=True)


def global_max_pool(call: NodeCall) -> Layer:
    call.read()
    return call.apply(torch.amax, 0, dim=tuple(range(2, call.rank())), keepdim=True)


def global_lp_pool(call: NodeCall) -> Layer:
    p = float(call.read(p=2).p)
    return call.apply(_norm, 0, p=p, dim=tuple(range(2, call.rank())))


def _norm(value: Tensor, p: float, dim: tuple[int, ...]) -> Tensor:
    return value.abs().pow(p).sum(dim, keepdim=True).pow(1 / p)
