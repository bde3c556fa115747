"""Portrait segmentation: PortraitNet (Zhang 2019), its video variant, and a head on Hydra.

A MobileNetV2 encoder with ReLU and a decoder of residual blocks and transposed convolutions.
The training-time edge branch is not built. The video variant sees the mask of the previous
frame as a fourth channel; at the start it is 0 everywhere.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from model_defs.blocks import conv_bn, foreground_of, initialise, separable
from model_defs.depth import FEATURES, Decoder
from model_defs.depth import SIZE as HYDRA_SIZE
from model_defs.spec import ModelSpec, Postprocess, Preprocess, Resize, TensorSpec
from model_defs.weights import path_of

SIZE = 224


class InvertedResidual(nn.Module):
    """Widens, filters depthwise, narrows (Sandler 2018); adds its input where sizes agree.

    PortraitNet's first block widens by 1, with a 1x1 convolution that MobileNetV2 leaves out.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, widening: int = 6) -> None:
        super().__init__()
        hidden = inputs * widening
        self.layers = nn.Sequential(
            conv_bn(inputs, hidden, 1, activation=nn.ReLU()),
            conv_bn(hidden, hidden, stride=stride, groups=hidden, activation=nn.ReLU()),
            conv_bn(hidden, outputs, 1),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.residual else y


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = InvertedResidual(inputs, outputs, stride)
    return nn.Sequential(first, *(InvertedResidual(outputs, outputs) for _ in range(blocks - 1)))


class DecoderBlock(nn.Module):
    """Two separable convolutions beside a 1x1 shortcut; (N, C, H, W) -> (N, C', H, W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            separable(inputs, outputs),
            conv_bn(outputs, outputs, groups=outputs, activation=nn.ReLU()),
            conv_bn(outputs, outputs, 1),
        )
        self.shortcut = conv_bn(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layers(x) + self.shortcut(x))


def _upsampling(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        DecoderBlock(inputs, outputs),
        nn.ConvTranspose2d(outputs, outputs, 4, stride=2, padding=1, bias=False),
    )


def _wide(channels: int, width: float) -> int:
    return max(8, round(channels * width / 8) * 8)


class PortraitNet(nn.Module):
    """(N, C, H, W) -> the person's probability (N, 1, H, W); H and W are multiples of 32.

    Trained with two logits, as published; the probability is that of the second. `width` is the
    share of the published channels, in steps of 8 as MobileNetV2 has it, `depth` that of the
    blocks of each stage.
    """

    def __init__(self, inputs: int = 3, width: float = 1.0, depth: float = 1.0) -> None:
        super().__init__()
        published = (8, 16, 24, 32, 64, 96, 160, 320)
        c8, c16, c24, c32, c64, c96, c160, c320 = (_wide(count, width) for count in published)
        two, three, four = (max(1, round(blocks * depth)) for blocks in (2, 3, 4))
        self.stage2 = nn.Sequential(
            conv_bn(inputs, c32, stride=2, activation=nn.ReLU()),
            InvertedResidual(c32, c16, widening=1),
        )
        self.stage4 = _stage(c16, c24, two, stride=2)
        self.stage8 = _stage(c24, c32, three, stride=2)
        self.stage16 = nn.Sequential(
            _stage(c32, c64, four, stride=2), _stage(c64, c96, three, stride=1)
        )
        self.stage32 = nn.Sequential(
            _stage(c96, c160, three, stride=2), InvertedResidual(c160, c320)
        )
        self.up16 = _upsampling(c320, c96)
        self.up8 = _upsampling(c96, c32)
        self.up4 = _upsampling(c32, c24)
        self.up2 = _upsampling(c24, c16)
        self.up1 = _upsampling(c16, c8)
        self.score = nn.Conv2d(c8, 2, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return foreground_of(self.score(self.features(x)))

    def features(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 8, H, W), what the scores are made from."""
        f4 = self.stage4(self.stage2(x))  # (N, 24, H/4, W/4)
        f8 = self.stage8(f4)  # (N, 32, H/8, W/8)
        f16 = self.stage16(f8)  # (N, 96, H/16, W/16)
        x = self.up16(self.stage32(f16))  # (N, 96, H/16, W/16)
        x = self.up8(x + f16)  # (N, 32, H/8, W/8)
        x = self.up4(x + f8)  # (N, 24, H/4, W/4)
        x = self.up2(x + f4)  # (N, 16, H/2, W/2)
        features: Tensor = self.up1(x)  # (N, 8, H, W)
        return features


class PortraitVideo(nn.Module):
    """A frame (N, 3, H, W) and the previous frame's mask (N, 1, H, W) -> this frame's mask."""

    def __init__(self) -> None:
        super().__init__()
        self.net = PortraitNet(inputs=4)

    def forward(self, image: Tensor, previous: Tensor) -> Tensor:
        return self.net(torch.cat((image, previous), 1))


def _mask(size: int) -> TensorSpec:
    return TensorSpec(
        "mask",
        (1, 1, size, size),
        "mask",
        unit="probability",
        low=0.0,
        high=1.0,
        tolerance=0.01,
        postprocess=Postprocess(),
    )


MEAN = (103.94, 116.78, 123.68)
SCALE = 0.017


def _image(size: int, resize: Resize = "letterbox") -> TensorSpec:
    return TensorSpec(
        "image",
        (1, 3, size, size),
        "image",
        unit="BGR, standardised",
        low=-max(MEAN) * SCALE,
        high=(255 - min(MEAN)) * SCALE,
        preprocess=Preprocess(
            resize=resize, colour="BGR", mean=MEAN, std=(1 / SCALE,) * 3, pad=128
        ),
    )


IMAGE = _image(SIZE)
PREVIOUS = TensorSpec(
    "previous_mask", (1, 1, SIZE, SIZE), "state", unit="probability", low=0.0, high=1.0
)


def portrait_spec(
    size: int = SIZE, width: float = 1.0, depth: float = 1.0, resize: Resize = "letterbox"
) -> ModelSpec:
    """The net for pictures of `size` pixels a side, a multiple of 32; see PortraitNet. No weights.

    Raises ValueError for any other size.
    """
    if size < 32 or size % 32:
        raise ValueError(f"size {size} is no multiple of 32")
    return ModelSpec(
        "portrait",
        lambda: initialise(PortraitNet(width=width, depth=depth), gain=0.85),
        (_image(size, resize),),
        (_mask(size),),
        summary="the person in a portrait (PortraitNet)",
    )


PORTRAIT = replace(portrait_spec(), weights=path_of("portrait"), pruned=path_of("portrait-fast"))
PORTRAIT_VIDEO = ModelSpec(
    "portrait-video",
    lambda: initialise(PortraitVideo(), gain=0.84),
    (IMAGE, PREVIOUS),
    (_mask(SIZE),),
    summary="the person in a frame, given the last frame's mask",
    weights=path_of("portrait-video"),
    state={"previous_mask": "mask"},
)
PORTRAIT_HEAD = ModelSpec(
    "portrait-head",
    lambda: initialise(Decoder(), gain=0.95),
    FEATURES,
    (_mask(HYDRA_SIZE),),
    summary="the person, from the depth trunk's features",
    weights=path_of("portrait-head"),
    fed_by="depth-trunk",
)
