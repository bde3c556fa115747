"""The baseline of interactive selection: FCN-8s (Long 2015) on VGG16 with clicks (Xu 2016).

Half a gigabyte, kept to measure against; not shipped.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from model_defs.blocks import foreground_of, initialise, tent
from model_defs.select import CLICKS, IMAGE, MASK
from model_defs.spec import ModelSpec, Preprocess


def _stage(inputs: int, outputs: int, convs: int, padding: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(convs):
        layers.append(nn.Conv2d(inputs if index == 0 else outputs, outputs, 3, padding=padding))
        layers.append(nn.ReLU())
        padding = 1
    return nn.Sequential(*layers, nn.MaxPool2d(2, stride=2, ceil_mode=True))


def _upsampling(factor: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(2, 2, 2 * factor, stride=factor, bias=False)


class ClickFCN8s(nn.Module):
    """An image (N, 3, H, W), BGR less its mean, and clicks (N, 2, H, W) -> a mask (N, 1, H, W).

    The first layer pads by 100, and the crops undo it: the original's way to make the unpadded
    fc6 fit. It costs 1.7 times the work of padding by 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stages123 = nn.Sequential(
            _stage(5, 64, 2, padding=100), _stage(64, 128, 2), _stage(128, 256, 3)
        )
        self.stage4 = _stage(256, 512, 3)
        self.stage5 = _stage(512, 512, 3)
        self.fc6 = nn.Sequential(nn.Conv2d(512, 4096, 7), nn.ReLU(), nn.Dropout())
        self.fc7 = nn.Sequential(nn.Conv2d(4096, 4096, 1), nn.ReLU(), nn.Dropout())
        self.score32 = nn.Conv2d(4096, 2, 1)
        self.score16 = nn.Conv2d(512, 2, 1)
        self.score8 = nn.Conv2d(256, 2, 1)
        self.upsample32 = _upsampling(2)
        self.upsample16 = _upsampling(2)
        self.upsample8 = _upsampling(8)

    def forward(self, image: Tensor, clicks: Tensor) -> Tensor:
        pool3 = self.stages123(torch.cat((image, clicks), 1))  # (N, 256, 89, 89) for 512x512
        pool4 = self.stage4(pool3)  # (N, 512, 45, 45)
        x = self.fc7(self.fc6(self.stage5(pool4)))  # (N, 4096, 17, 17)
        x = self.upsample32(self.score32(x))  # (N, 2, 36, 36)
        x = x + _cropped(self.score16(pool4), x, offset=5)
        x = self.upsample16(x)  # (N, 2, 74, 74)
        x = x + _cropped(self.score8(pool3), x, offset=9)
        x = self.upsample8(x)  # (N, 2, 600, 600)
        return foreground_of(_cropped(x, image, offset=31))


def _cropped(x: Tensor, like: Tensor, offset: int) -> Tensor:
    height, width = like.shape[-2:]
    return x[:, :, offset : offset + height, offset : offset + width]


def build() -> ClickFCN8s:
    """The net with its upsampling fixed to bilinear, each class by itself."""
    net = initialise(ClickFCN8s(), gain=0.95, contrast=0.02)
    for layer in (net.upsample32, net.upsample16, net.upsample8):
        kernel = torch.eye(2, device=layer.weight.device)[:, :, None, None] * tent(layer)
        layer.weight.data.copy_(kernel)
    return net


SELECT_BASELINE = ModelSpec(
    "select-baseline",
    build,
    (
        replace(
            IMAGE,
            unit="BGR less its mean",
            low=-122.67892,
            high=255 - 104.00699,
            preprocess=Preprocess(
                resize="letterbox",
                colour="BGR",
                mean=(104.00699, 116.66877, 122.67892),
                std=(1.0, 1.0, 1.0),
            ),
        ),
        CLICKS,
    ),
    (MASK,),
    summary="the half gigabyte that select replaces (FCN-8s on VGG16)",
    baseline=True,
)
