"""Depth as Hydra: FastDepth (Wofk 2019) as a trunk and a head that also run separately.

MobileNetV1 features, a decoder of five depthwise-separable 5x5 layers with nearest upsampling
and additive skips ("NNConv5dw-skipadd"); the last ReLU is a sigmoid here, because what
comes out is relative inverse depth, not metres.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from model_defs.blocks import conv_bn, initialise, separable
from model_defs.mobilenet import MobileNetV1
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec
from model_defs.weights import path_of

SIZE = 256
TAPS = (1, 3, 5, 13)


class Decoder(nn.Module):
    """The trunk's four feature maps -> (N, 1, H, W) in 0..1; H and W are those of the picture."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1024, 512, 256, 128, 64, 32)
        self.layers = nn.ModuleList(
            separable(inputs, outputs, 5) for inputs, outputs in pairwise(widths)
        )
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.score = conv_bn(32, 1, 1)

    def forward(self, f2: Tensor, f4: Tensor, f8: Tensor, f32: Tensor) -> Tensor:
        return self.logits(f2, f4, f8, f32).sigmoid()

    def logits(self, f2: Tensor, f4: Tensor, f8: Tensor, f32: Tensor) -> Tensor:
        """What training sees: (N, 1, H, W) without bounds."""
        x = self.upsample(self.layers[0](f32))  # (N, 512, H/16, W/16)
        x = self.upsample(self.layers[1](x)) + f8  # (N, 256, H/8, W/8)
        x = self.upsample(self.layers[2](x)) + f4  # (N, 128, H/4, W/4)
        x = self.upsample(self.layers[3](x)) + f2  # (N, 64, H/2, W/2)
        x = self.upsample(self.layers[4](x))  # (N, 32, H, W)
        scores: Tensor = self.score(x)
        return scores


class Depth(nn.Module):
    """(N, 3, H, W) in 0..1 -> (N, 1, H, W): 1 is near; H and W are multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = MobileNetV1(TAPS)
        self.head = Decoder()

    def forward(self, image: Tensor) -> Tensor:
        return self.head(*self.trunk(image))


def build() -> Depth:
    return initialise(Depth(), gain=0.95, contrast=4.0)


def build_trunk() -> MobileNetV1:
    """The trunk of the whole net, hence with its weights under the same seed."""
    return build().trunk


def build_head() -> Decoder:
    """The head of the whole net, hence with its weights under the same seed."""
    return build().head


def _features(name: str, channels: int, stride: int) -> TensorSpec:
    shape = (1, channels, SIZE // stride, SIZE // stride)
    return TensorSpec(name, shape, "features", unit="activation", low=0.0, high=6.0, tolerance=0.06)


IMAGE = TensorSpec(
    "image", (1, 3, SIZE, SIZE), "image", unit="RGB", low=0.0, high=1.0, preprocess=Preprocess()
)
FEATURES = (
    _features("features_2", 64, 2),
    _features("features_4", 128, 4),
    _features("features_8", 256, 8),
    _features("features_32", 1024, 32),
)
MAP = TensorSpec(
    "depth",
    (1, 1, SIZE, SIZE),
    "map",
    unit="relative inverse depth",
    low=0.0,
    high=1.0,
    tolerance=0.01,
    postprocess=Postprocess(),
)

WEIGHTS = path_of("depth")

DEPTH = ModelSpec(
    "depth",
    build,
    (IMAGE,),
    (MAP,),
    summary="depth from one photo (FastDepth)",
    weights=WEIGHTS,
    pruned=path_of("depth-fast"),
)
DEPTH_TRUNK = ModelSpec(
    "depth-trunk",
    build_trunk,
    (IMAGE,),
    FEATURES,
    summary="the features that heads share",
    weights=WEIGHTS,
    part="trunk",
    cases=("saturated", "rgba-file", "tiny", "tall"),
)
DEPTH_HEAD = ModelSpec(
    "depth-head",
    build_head,
    FEATURES,
    (MAP,),
    summary="depth from the trunk's features",
    weights=WEIGHTS,
    part="head",
    fed_by="depth-trunk",
)
