"""A small network for each rewrite of the lowering: what it is made for, a few times over."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_defs.blocks import conv_bn
from model_defs.upproj import UpProjection

SIZE = 128
CHANNELS = 32


class Repeated(nn.Module):
    """A picture (1, 3, SIZE, SIZE), CHANNELS maps of it, and a layer four times."""

    def __init__(self, layer: Callable[[], nn.Module], *, times: int = 4, stride: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, CHANNELS, 3, stride, 1)
        self.layers = nn.Sequential(*(layer() for _ in range(times)))

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(self.first(image).relu())


class Gated(nn.Module):
    """A gate for each row, which is expanded along it, as in separable attention."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = _conv(), nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        gate = self.gate(x.mean(3, keepdim=True)).sigmoid()
        return x * gate.expand(x.shape)


class Masked(nn.Module):
    """A convolution whose result counts only where the first map is above zero."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = _conv()

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x[:, :1] > 0, self.conv(x), torch.zeros(()))


class Enlarged(nn.Module):
    """Nearest enlargement, a convolution, and back to the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(_twice(x))


class Drawn(nn.Module):
    """Nearest enlargement, a convolution that keeps its size, and back by averaging."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = _conv()

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(self.enlarged(x)), 2)

    def enlarged(self, x: Tensor) -> Tensor:
        return _twice(x)


class DrawnWhereKnown(Drawn):
    """The same, of maps times a mask, both enlarged, as in partial convolutions."""

    def enlarged(self, x: Tensor) -> Tensor:
        return _twice(x) * _twice(x[:, :1].clamp(0, 1))


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _conv() -> nn.Conv2d:
    return nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)


def _reflected() -> nn.Module:
    conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, padding_mode="reflect")
    return nn.Sequential(conv, nn.ELU())


def _mlp() -> nn.Module:
    wide = 4 * CHANNELS
    return nn.Sequential(nn.Conv2d(CHANNELS, wide, 1), nn.GELU(), nn.Conv2d(wide, CHANNELS, 1))


def _shuffled() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(CHANNELS, 4 * CHANNELS, 3, 1, 1),
        nn.PixelShuffle(2),
        nn.Conv2d(CHANNELS, CHANNELS, 3, 2, 1),
    )


def _pooled() -> nn.Module:
    return nn.Sequential(_conv(), nn.ReLU(), nn.MaxPool2d(3, 2, 1))


NETS: Mapping[str, Callable[[], nn.Module]] = {
    "fuse-gelu": lambda: Repeated(_mlp),
    "fuse-group-norm": lambda: Repeated(
        lambda: nn.Sequential(_conv(), nn.GroupNorm(8, CHANNELS), nn.ReLU())
    ),
    "broadcast-in-place": lambda: Repeated(Gated),
    "stacked-pixel-shuffle": lambda: Repeated(
        lambda: nn.Sequential(
            UpProjection(CHANNELS, CHANNELS), nn.Conv2d(CHANNELS, CHANNELS, 3, 2, 1)
        )
    ),
    "pixel-shuffle-of-conv": lambda: Repeated(_shuffled),
    "pointwise-before-nearest": lambda: Repeated(DrawnWhereKnown),
    "conv-of-nearest": lambda: Repeated(Drawn),
    "pad-as-slices": lambda: Repeated(_reflected),
    "nearest-as-concats": lambda: Repeated(Enlarged),
    "max-pool-after-relu": lambda: Repeated(_pooled, stride=1),
    "select-as-product": lambda: Repeated(Masked),
    "fused": lambda: Repeated(lambda: conv_bn(CHANNELS, CHANNELS)),
}
"""By the rewrite's name; `fused` is TF.js's fusion of a convolution, its bias and activation."""
