"""Metric depth by up-projection (Laina 2016): ResNet-50 and four blocks that each double the size.

A 5x5 convolution over a map stuffed with zeros multiplies mostly zeros. Here it is four small
convolutions over the map itself, interleaved (section 3.2 and figure 3): the same numbers for
a quarter of the work.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_defs.blocks import conv_bn, initialise
from model_defs.resnet import damp, resnet50
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec

EPSILON = 1e-4  # BatchNorm's, in the released TensorFlow weights


class UpConvolution(nn.Module):
    """(N, C, H, W) -> (N, C', 2H, 2W): zeros between and after the values, then 5x5, padded by 2.

    The output at an even row meets the kernel's rows 0, 2, 4, hence the map's rows above, at
    and below it; at an odd row the kernel's rows 1, 3, hence the rows at and below. The same
    for columns. Each of the four cases has a bias of its own.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.even_even = nn.Conv2d(inputs, outputs, (3, 3), padding=1)
        self.even_odd = nn.Conv2d(inputs, outputs, (3, 2), padding=(1, 0))
        self.odd_even = nn.Conv2d(inputs, outputs, (2, 3), padding=(0, 1))
        self.odd_odd = nn.Conv2d(inputs, outputs, (2, 2))

    def forward(self, x: Tensor) -> Tensor:
        phases = (
            self.even_even(x),
            self.even_odd(F.pad(x, (0, 1, 0, 0))),
            self.odd_even(F.pad(x, (0, 0, 0, 1))),
            self.odd_odd(F.pad(x, (0, 1, 0, 1))),
        )
        return F.pixel_shuffle(torch.stack(phases, 2).flatten(1, 2), 2)


class UpProjection(nn.Module):
    """Two up-convolutions side by side, one of them followed by a 3x3; their rectified sum."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            UpConvolution(inputs, outputs),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            conv_bn(outputs, outputs, biased=True),
        )
        self.projection = nn.Sequential(UpConvolution(inputs, outputs), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.branch(x) + self.projection(x))


class UpProjDepth(nn.Module):
    """RGB (N, 3, 228, 304) in 0..255 -> metres (N, 1, 128, 160)."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = resnet50()
        self.reduce = conv_bn(2048, 1024, 1, biased=True)
        self.ups = nn.Sequential(
            UpProjection(1024, 512),
            UpProjection(512, 256),
            UpProjection(256, 128),
            UpProjection(128, 64),
        )
        self.score = nn.Conv2d(64, 1, 3, padding=1)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eps = EPSILON

    def forward(self, image: Tensor) -> Tensor:
        x = self.reduce(self.trunk(image))  # (N, 1024, 8, 10)
        return torch.relu(self.score(self.ups(x)))


def build() -> UpProjDepth:
    """The net, which untrained says about 3 m: below 0 m the last layer would cut it off."""
    net = damp(initialise(UpProjDepth(), gain=1.1, contrast=0.4))
    assert net.score.bias is not None
    net.score.bias.data.add_(3.0)
    return net


DEPTH_UPPROJ = ModelSpec(
    "depth-upproj",
    build,
    (
        TensorSpec(
            "image",
            (1, 3, 228, 304),
            "image",
            unit="RGB",
            low=0.0,
            high=255.0,
            preprocess=Preprocess(std=(1.0, 1.0, 1.0)),
        ),
    ),
    (
        TensorSpec(
            "depth",
            (1, 1, 128, 160),
            "map",
            unit="m",
            low=0.0,
            tolerance=0.05,
            postprocess=Postprocess(low=None, high=None),
        ),
    ),
    summary="depth in metres (ResNet-50, up-projection)",
)
