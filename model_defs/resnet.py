"""ResNet-50 without its classifier, as Caffe released it: a block's first 1x1 has the stride."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from model_defs.blocks import conv_bn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 beside a shortcut (He 2016, figure 5); (N, C, H, W) -> (N, 4M, H/s, W/s)."""

    def __init__(
        self, inputs: int, middle: int, stride: int, dilation: int, biased: bool, shortcut: bool
    ) -> None:
        super().__init__()
        outputs = 4 * middle
        self.layers = nn.Sequential(
            conv_bn(inputs, middle, 1, stride=stride, biased=biased, activation=nn.ReLU()),
            conv_bn(middle, middle, 3, dilation=dilation, biased=biased, activation=nn.ReLU()),
            conv_bn(middle, outputs, 1, biased=biased),
        )
        self.shortcut = (
            conv_bn(inputs, outputs, 1, stride=stride, biased=biased) if shortcut else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layers(x) + self.shortcut(x))


def resnet50(
    strides: tuple[int, int, int] = (2, 2, 2),
    dilations: tuple[int, int, int] = (1, 1, 1),
    *,
    biased: bool = False,
) -> nn.Sequential:
    """(N, 3, H, W) -> (N, 2048, H', W'); strides and dilations are those of the last 3 stages.

    The first convolution always has a bias beside its BatchNorm, the others where `biased`.
    """
    layers: list[nn.Module] = [
        conv_bn(3, 64, 7, stride=2, biased=True, activation=nn.ReLU()),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    inputs = 64
    stages = zip((64, 128, 256, 512), (3, 4, 6, 3), (1, *strides), (1, *dilations), strict=True)
    for middle, blocks, stride, dilation in stages:
        for index in range(blocks):
            first = index == 0
            step = stride if first else 1
            layers.append(Bottleneck(inputs, middle, step, dilation, biased, shortcut=first))
            inputs = 4 * middle
    return nn.Sequential(*layers)


@torch.no_grad()
def damp(net: ModuleT, share: float = 0.3) -> ModuleT:
    """Scales what each untrained block adds to its shortcut, and returns the net.

    Sixteen blocks at full strength are chaotic: float16's rounding grows from block to block
    until it outweighs the picture. (A trained net's blocks add little each.)
    """
    for block in net.modules():
        if isinstance(block, Bottleneck):
            *_, norm = block.layers.modules()
            assert isinstance(norm, nn.BatchNorm2d)
            norm.weight.mul_(share)
    return net
