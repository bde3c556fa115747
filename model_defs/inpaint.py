"""Inpainting: the generator of GMCNN (Wang 2018), three branches with a wide to a narrow view.

The mask is 1 in the hole. The nets return the whole picture: what they drew inside the hole,
and the picture itself, unchanged, outside.

The published TensorFlow code pads strided convolutions at the right and bottom; here all sides
are padded, with zeros, or in the PyTorch port's variant by reflection.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model_defs.blocks import initialise
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec
from model_defs.weights import path_of

HEIGHT, WIDTH = 512, 680


def composite(drawn: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """`drawn` (N, 3, H, W) where `mask` (N, 1, H, W) is 1, `image` where it is 0."""
    return drawn * mask + image * (1 - mask)


def _conv(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    bias: bool = True,
    reflect: bool = False,
) -> nn.Conv2d:
    """A convolution that keeps the size at stride 1."""
    return nn.Conv2d(
        inputs,
        outputs,
        kernel,
        stride,
        padding=kernel // 2 * dilation,
        dilation=dilation,
        bias=bias,
        padding_mode="reflect" if reflect else "zeros",
    )


def _elu(*args: int, **options: Any) -> nn.Sequential:
    return nn.Sequential(_conv(*args, **options), nn.ELU())


def _branch(inputs: int, width: int, kernel: int, first: int, reflect: bool) -> nn.Sequential:
    """(N, C, H, W) -> (N, 4 * width, H/4, W/4)."""
    conv = partial(_elu, reflect=reflect)
    wide = 4 * width
    return nn.Sequential(
        conv(inputs, width, first),
        conv(width, 2 * width, kernel, stride=2),
        conv(2 * width, 2 * width, kernel),
        conv(2 * width, wide, kernel, stride=2),
        *(conv(wide, wide, kernel) for _ in range(2)),
        *(conv(wide, wide, kernel, dilation=dilation) for dilation in (2, 4, 8, 16)),
        *(conv(wide, wide, kernel) for _ in range(2)),
    )


def _nearest() -> nn.Upsample:
    return nn.Upsample(scale_factor=2, mode="nearest")


def _bilinear(factor: int) -> nn.Upsample:
    return nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=True)


class GMCNN(nn.Module):
    """A picture (N, 3, H, W) in -1..1 and a mask (N, 1, H, W) -> the picture without the hole.

    H and W are multiples of 4. `port` is the PyTorch port: no constant channel, padding by
    reflection (at least 196 pixels a side), and wider tails.
    """

    def __init__(self, width: int = 32, *, port: bool = False) -> None:
        super().__init__()
        self.port = port
        inputs, half, wide = (4 if port else 5), width // 2, 4 * width
        last = width if port else half
        conv = partial(_elu, reflect=port)
        branch = partial(_branch, inputs, width, reflect=port)
        self.far = nn.Sequential(branch(7, first=7), _bilinear(4))
        self.middle = nn.Sequential(
            branch(5, first=5),
            _nearest(),
            conv(wide, 2 * width, 5 if port else 3),
            conv(2 * width, 2 * width, 5),
            _bilinear(2),
        )
        self.near = nn.Sequential(
            branch(3, first=3 if port else 5),
            _nearest(),
            conv(wide, 2 * width),
            conv(2 * width, 2 * width),
            _nearest(),
            conv(2 * width, width),
            conv(width, last),
        )
        # One convolution of the branches side by side would need them all in memory at once, at
        # full size. The sum of one convolution each is the same; one of them has the bias.
        self.merge_far = _conv(wide, half, reflect=port)
        self.merge_middle = _conv(2 * width, half, bias=False, reflect=port)
        self.merge_near = _conv(last, half, bias=False, reflect=port)
        self.draw = nn.Sequential(nn.ELU(), _conv(half, 3, reflect=port))

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        x = self._inputs(image, mask)  # (N, 4 or 5, H, W)
        merged = self.merge_far(self.far(x))  # (N, width / 2, H, W)
        merged = merged + self.merge_middle(self.middle(x))
        merged = merged + self.merge_near(self.near(x))
        drawn = self.draw(merged).clamp(-1, 1)  # (N, 3, H, W)
        return composite(drawn, image, mask)

    def _inputs(self, image: Tensor, mask: Tensor) -> Tensor:
        known = 1 - mask
        if self.port:
            return torch.cat((image * known, mask), 1)
        # The published constant channel tells the border, where padding makes it 0. As a sum it
        # is not a constant, of which converters would store every pixel.
        return torch.cat((image * known, known + mask, mask), 1)


def _specification(
    name: str, width: int, port: bool, summary: str, weights: Path | None = None
) -> ModelSpec:
    return ModelSpec(
        name,
        lambda: initialise(GMCNN(width, port=port), gain=0.72),
        (image_spec(HEIGHT, WIDTH, low=-1.0), mask_spec(HEIGHT, WIDTH)),
        (result_spec(HEIGHT, WIDTH, low=-1.0, tolerance=0.02),),
        summary=summary,
        weights=weights,
    )


def image_spec(height: int, width: int, low: float) -> TensorSpec:
    """An RGB picture in low..1, where low is -1 or 0."""
    middle, half = (127.5, 127.5) if low < 0 else (0.0, 255.0)
    preprocess = Preprocess(mean=(middle,) * 3, std=(half,) * 3)
    return TensorSpec(
        "image", (1, 3, height, width), "image", "RGB", low, 1.0, preprocess=preprocess
    )


def mask_spec(height: int, width: int) -> TensorSpec:
    """A mask that is 1 in the hole, from a grey picture that is white there."""
    preprocess = Preprocess(filter="nearest", colour="GRAY", mean=(0.0,), std=(255.0,))
    return TensorSpec(
        "mask", (1, 1, height, width), "mask", "1 in the hole", 0.0, 1.0, preprocess=preprocess
    )


def result_spec(height: int, width: int, low: float, tolerance: float) -> TensorSpec:
    """The picture without the hole, in the range of the picture with it."""
    return TensorSpec(
        "result",
        (1, 3, height, width),
        "image",
        "RGB",
        low,
        1.0,
        tolerance,
        postprocess=Postprocess(low, 1.0, filter="bicubic", colour="RGB"),
    )


INPAINT = _specification("inpaint", 32, False, "fills a hole (GMCNN)")
INPAINT_LITE = _specification(
    "inpaint-lite", 16, False, "fills a hole, at half the width", path_of("inpaint-lite")
)
INPAINT_REFLECT = _specification(
    "inpaint-reflect", 32, True, "fills a hole (GMCNN as ported to PyTorch)"
)
