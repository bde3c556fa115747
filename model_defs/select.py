"""Interactive selection: SqueezeNet v1.1 (Iandola 2016) refined by SharpMask (Pinheiro 2016).

The user's clicks come as two maps, positive and negative, of the distance to the nearest
click, cut off at 255 pixels and divided by 255 (Xu 2016, section 3.1); a map without a click
is 1 everywhere. `procedures/clicks.py` draws them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_defs.blocks import initialise
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec
from model_defs.weights import path_of

SIZE = 512


def _conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU())


class Fire(nn.Module):
    """Squeezes to few channels, then expands by 1x1 and by 3x3 kernels side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = _conv(inputs, squeezed, 1)
        self.expand1 = _conv(squeezed, expanded, 1)
        self.expand3 = _conv(squeezed, expanded, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        return torch.cat((self.expand1(x), self.expand3(x)), 1)


class SqueezeNet(nn.Module):
    """(N, 5, H, W) -> what enters each pool, the pools' outputs being where scales change.

    Version 1.1 without its classifier. Convolutions and pools are padded on all sides, so that
    each scale halves exactly: the unpadded original makes 31x31 of 512x512, not 32x32.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(inputs, 64, 3, stride=2, padding=1), nn.ReLU())
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.fires4 = nn.Sequential(Fire(64, 16, 64), Fire(128, 16, 64))
        self.fires8 = nn.Sequential(Fire(128, 32, 128), Fire(256, 32, 128))
        self.fires16 = nn.Sequential(
            Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        skip2 = self.stem(x)  # (N, 64, H/2, W/2)
        skip4 = self.pool(skip2)  # (N, 64, H/4, W/4)
        skip8 = self.pool(self.fires4(skip4))  # (N, 128, H/8, W/8)
        skip16 = self.pool(self.fires8(skip8))  # (N, 256, H/16, W/16)
        return skip2, skip4, skip8, skip16, self.fires16(skip16)  # the last (N, 512, H/16, W/16)


class Refinement(nn.Module):
    """A mask encoding and a skip of the same size -> half the channels at twice the size.

    SharpMask's module with zero padding: `skip` comes down from the trunk (horizontal), `x`
    up from the coarser module (vertical).
    """

    def __init__(self, skip: int, hidden: int, width: int) -> None:
        super().__init__()
        self.horizontal = nn.Sequential(
            _conv(skip, hidden), _conv(hidden, width), nn.Conv2d(width, width // 2, 3, padding=1)
        )
        self.vertical = nn.Sequential(
            _conv(width, width), nn.Conv2d(width, width // 2, 3, padding=1)
        )
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.upsample(torch.relu(self.horizontal(skip) + self.vertical(x)))


class Select(nn.Module):
    """An image (N, 3, H, W) and clicks (N, 2, H, W), both in 0..1 -> a mask (N, 1, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = SqueezeNet(5)
        self.encode = nn.Conv2d(512, 32, 1)
        self.refine16 = Refinement(256, 64, 32)
        self.refine8 = Refinement(128, 64, 16)
        self.refine4 = Refinement(64, 64, 8)
        self.refine2 = Refinement(64, 32, 4)
        self.score = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, image: Tensor, clicks: Tensor) -> Tensor:
        return self.logits(image, clicks).sigmoid()

    def logits(self, image: Tensor, clicks: Tensor) -> Tensor:
        """What training sees: (N, 1, H, W) without bounds."""
        skip2, skip4, skip8, skip16, x = self.trunk(torch.cat((image, clicks), 1))
        x = self.encode(x)  # (N, 32, H/16, W/16)
        x = self.refine16(x, skip16)  # (N, 16, H/8, W/8)
        x = self.refine8(x, skip8)  # (N, 8, H/4, W/4)
        x = self.refine4(x, skip4)  # (N, 4, H/2, W/2)
        x = self.refine2(x, skip2)  # (N, 2, H, W)
        scores: Tensor = self.score(x)
        return scores


class SelectCoarse(nn.Module):
    """The same trunk with one learned x16 upsampling: masks without fine borders."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = SqueezeNet(5)
        self.score = nn.Conv2d(512, 1, 1)
        self.upsample = nn.ConvTranspose2d(1, 1, 32, stride=16, padding=8, bias=False)

    def forward(self, image: Tensor, clicks: Tensor) -> Tensor:
        return self.logits(image, clicks).sigmoid()

    def logits(self, image: Tensor, clicks: Tensor) -> Tensor:
        """What training sees: (N, 1, H, W) without bounds."""
        *_, x = self.trunk(torch.cat((image, clicks), 1))
        scores: Tensor = self.upsample(self.score(x))
        return scores


IMAGE = TensorSpec(
    "image",
    (1, 3, SIZE, SIZE),
    "image",
    unit="RGB",
    low=0.0,
    high=1.0,
    preprocess=Preprocess(resize="letterbox"),
)
CLICKS = TensorSpec(
    "clicks",
    (1, 2, SIZE, SIZE),
    "clicks",
    unit="255 pixels to the nearest positive, negative click",
    low=0.0,
    high=1.0,
)
MASK = TensorSpec(
    "mask",
    (1, 1, SIZE, SIZE),
    "mask",
    unit="probability",
    low=0.0,
    high=1.0,
    tolerance=0.01,
    postprocess=Postprocess(),
)

SELECT = ModelSpec(
    "select",
    lambda: initialise(Select(), gain=0.9, contrast=4.0),
    (IMAGE, CLICKS),
    (MASK,),
    summary="the object under the clicks (SqueezeNet, SharpMask)",
    weights=path_of("select"),
    pruned=path_of("select-fast"),
)
SELECT_COARSE = ModelSpec(
    "select-coarse",
    lambda: initialise(SelectCoarse(), gain=0.9, contrast=16.0),
    (IMAGE, CLICKS),
    (MASK,),
    summary="the same trunk with a x16 deconvolution",
    weights=path_of("select-coarse"),
)
