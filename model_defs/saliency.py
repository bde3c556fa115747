"""What people look at: SAM (Cornia 2018), on MobileNetV1 and on its own ResNet-50.

An LSTM attends to the same features four times, learned Gaussians say where people look
anyway, and the map is enlarged 16 times (bilinear, half-pixel centres). Nothing normalises
the output: only the post-processing makes its maximum 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_defs.attention import AttentiveConvLSTM
from model_defs.blocks import initialise
from model_defs.mobilenet import MobileNetV1
from model_defs.priors import GaussianPriors
from model_defs.resnet import damp, resnet50
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec
from model_defs.weights import path_of

PRIORS = 16


class PriorConv(nn.Module):
    """Convolves its input beside learned priors; the dilation reaches over half the map."""

    def __init__(self, channels: int, height: int, width: int, isotropic: bool) -> None:
        super().__init__()
        self.priors = GaussianPriors(PRIORS, height, width, isotropic=isotropic)
        self.conv = nn.Conv2d(channels + PRIORS, channels, 5, padding=8, dilation=4)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.priors()
        if self.training:  # which sees several pictures at once; an exported net sees one
            maps = maps.expand(len(x), -1, -1, -1)
        return torch.relu(self.conv(torch.cat((x, maps), 1)))


class MobileNetFeatures(nn.Module):
    """MobileNetV1 at an eighth of the size: dilation in place of its last two strides."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = MobileNetV1((13,), dilations={6: 2, 12: 4})

    def forward(self, image: Tensor) -> Tensor:
        (features,) = self.trunk(image)
        return features


class Saliency(nn.Module):
    """(1, 3, 8H, 8W) -> a map (1, 1, 16H, 16W), not negative; H and W are fixed by the priors."""

    def __init__(
        self,
        features: nn.Module,
        inputs: int,
        channels: int,
        *,
        height: int = 30,
        width: int = 40,
        isotropic: bool = False,
    ) -> None:
        super().__init__()
        self.features = features
        self.reduce = nn.Sequential(nn.Conv2d(inputs, channels, 3, padding=1), nn.ReLU())
        self.lstm = AttentiveConvLSTM(channels, (height, width))
        self.priors = nn.Sequential(
            PriorConv(channels, height, width, isotropic),
            PriorConv(channels, height, width, isotropic),
        )
        self.score = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.ReLU())
        self.upsample = nn.Upsample(scale_factor=16, mode="bilinear", align_corners=False)

    def forward(self, image: Tensor) -> Tensor:
        x = self.reduce(self.features(image))  # (1, C, H, W)
        x = self.priors(self.lstm(x))  # (1, C, H, W)
        return self.upsample(self.score(x))


def build(height: int = 240, width: int = 320) -> Saliency:
    """64 channels and isotropic priors on MobileNetV1, for pictures of this size (8ths)."""
    size = {"height": height // 8, "width": width // 8}
    net = Saliency(MobileNetFeatures(), 1024, 64, isotropic=True, **size)
    return _lifted(initialise(net, gain=1.0, contrast=2.0))


def build_resnet() -> Saliency:
    """The published net: 512 channels on a dilated ResNet-50."""
    trunk = resnet50(strides=(2, 1, 1), dilations=(1, 2, 4), biased=True)
    return _lifted(damp(initialise(Saliency(trunk, 2048, 512), gain=1.0, contrast=0.1)))


def _lifted(net: Saliency) -> Saliency:
    """The net, whose last ReLU would otherwise cut off all that it says untrained."""
    conv = net.score[0]
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    conv.bias.data.add_(0.3)
    return net


MAP = TensorSpec(
    "saliency",
    (1, 1, 480, 640),
    "map",
    unit="relative saliency",
    low=0.0,
    tolerance=0.01,
    postprocess=Postprocess(high=None),
)

SALIENCY = ModelSpec(
    "saliency",
    build,
    (
        TensorSpec(
            "image",
            (1, 3, 240, 320),
            "image",
            unit="RGB",
            low=-1.0,
            high=1.0,
            preprocess=Preprocess(resize="letterbox", mean=(127.5,) * 3, std=(127.5,) * 3),
        ),
    ),
    (MAP,),
    summary="what people look at (MobileNetV1, attentive ConvLSTM)",
    weights=path_of("saliency"),
    cases=("saturated",),
)
SALIENCY_RESNET = ModelSpec(
    "saliency-resnet",
    build_resnet,
    (
        TensorSpec(
            "image",
            (1, 3, 240, 320),
            "image",
            unit="BGR less its mean",
            low=-123.68,
            high=255 - 103.939,
            preprocess=Preprocess(
                resize="letterbox",
                colour="BGR",
                mean=(103.939, 116.779, 123.68),
                std=(1.0, 1.0, 1.0),
            ),
        ),
    ),
    (MAP,),
    summary="the published saliency net (SAM-ResNet)",
    baseline=True,
)
