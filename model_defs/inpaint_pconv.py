"""Inpainting by partial convolutions (Liu 2018): a U-Net that never looks into the hole.

A partial convolution sees known pixels only and makes up for their share of its window; a
position becomes known when its window holds a known pixel. All channels from one layer are
known at the same positions, so that one mask channel a layer says it all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model_defs.blocks import initialise
from model_defs.inpaint import composite, image_spec, mask_spec, result_spec
from model_defs.spec import ModelSpec

SIZE = 512

Known = tuple[Tensor, Tensor]
"""Activations (N, C, H, W) and, at the same size, where they are known (N, 1, H, W)."""


class PartialConv(nn.Module):
    """Sources side by side, masked -> activations and where they are known.

    With S known values of the k * k * C in a window (equation 1):
    `y = conv(x * mask) * k * k * C / S + bias` where S > 0, else 0.

    S is counted in units of the sources' greatest common divisor: integers that float16 holds
    exactly. The ratio is `known / max(S, 1)` with `known = clip(S, 0, 1)`: the usual
    `1 / (S + 1e-8)` is infinite in float16 and makes 0 * inf of a hole.
    """

    window: Tensor

    def __init__(
        self,
        sources: tuple[int, ...],
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        norm: bool = True,
        activation: nn.Module,
    ) -> None:
        super().__init__()
        padding = kernel // 2
        self.conv = nn.Conv2d(sum(sources), outputs, kernel, stride, padding, bias=False)
        self.bias = nn.Parameter(torch.rand(1, outputs, 1, 1) * 0.1 - 0.05)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.activation = activation
        unit = math.gcd(*sources)
        weights = torch.tensor([channels // unit for channels in sources]).float()
        window = weights[None, :, None, None].expand(1, -1, kernel, kernel).contiguous()
        self.register_buffer("window", window, persistent=False)
        self.full = float(kernel * kernel * sum(sources) // unit)

    def forward(self, *sources: Known) -> Known:
        x = _beside([values * mask for values, mask in sources])  # (N, C, H, W)
        masks = _beside([mask for _, mask in sources])  # (N, sources, H, W)
        counted = nn.functional.conv2d(
            masks, self.window, stride=self.conv.stride, padding=self.conv.padding
        )  # (N, 1, H/s, W/s)
        known = counted.clamp(0, 1)
        ratio = known * self.full / counted.clamp(min=1)
        y = self.conv(x) * ratio + self.bias * known  # (N, C', H/s, W/s)
        return self.activation(self.norm(y)), known


def _beside(tensors: list[Tensor]) -> Tensor:
    return torch.cat(tensors, 1) if len(tensors) > 1 else tensors[0]


class UNet(nn.Module):
    """A picture (N, 3, H, W) in 0..1 and a mask (N, 1, H, W) -> the picture without the hole.

    H and W are multiples of 256: eight layers halve the size, eight double it. `width` is the
    number of channels at half the size.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 4 * width, *(5 * (8 * width,)))
        kernels = (7, 5, 5, 3, 3, 3, 3, 3)
        self.encoder = nn.ModuleList(
            PartialConv((widths[i],), widths[i + 1], kernel, 2, norm=i > 0, activation=nn.ReLU())
            for i, kernel in enumerate(kernels)
        )
        self.decoder = nn.ModuleList(
            PartialConv((skip, below), skip, 3, norm=skip > 3, activation=nn.LeakyReLU(0.2))
            for skip, below in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.draw = nn.Conv2d(3, 3, 1)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        x: Known = image, 1 - mask
        skips = []
        for layer in self.encoder:
            skips.append(x)
            x = layer(x)
        for layer in self.decoder:
            values, known = x
            x = layer(skips.pop(), (self.upsample(values), self.upsample(known)))
        drawn = self.draw(x[0]).sigmoid()  # (N, 3, H, W)
        return composite(drawn, image, mask)


INPAINT_PCONV = ModelSpec(
    "inpaint-pconv",
    lambda: initialise(UNet(), gain=0.95, contrast=2.0),
    (image_spec(SIZE, SIZE, low=0.0), mask_spec(SIZE, SIZE)),
    (result_spec(SIZE, SIZE, low=0.0, tolerance=0.01),),
    summary="fills a hole (partial convolutions)",
    cases=("empty-mask", "full-mask", "one-pixel-mask", "border-mask"),
)
