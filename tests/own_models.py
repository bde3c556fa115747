"""Model files of a user's own, as text, and what the tests get that build them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolchain.bundle.bundle import Bundle

TINY = """
from torch import nn
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.out = nn.Conv2d(4, 1, 1)

    def forward(self, image):
        x = self.norm(self.conv(image)).relu()
        return self.out({body}).sigmoid()


spec = ModelSpec(
    "tiny",
    {build},
    inputs=(TensorSpec("image", (1, 3, 32, 48), "image", low=0, high=1, preprocess=Preprocess()),),
    outputs=(
        TensorSpec("shade", (1, 1, 16, 24), "map", low=0, high=1, tolerance=0.01,
                   postprocess=Postprocess()),
    ),
)
"""


def tiny(body: str = "x", build: str = "lambda: Net().eval()") -> str:
    """The file of a model with one output; `body` is what its last convolution is given."""
    return TINY.replace("{body}", body).replace("{build}", build)


TWO = """
from torch import nn
from torch.nn import functional as F
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.middle = nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.left = nn.Conv2d(8, 1, 1)
        self.right = nn.Conv2d(8, 1, 1)
        nn.init.uniform_(self.norm.weight, 0.5, 2.0)
        nn.init.uniform_(self.norm.running_var, 0.1, 0.3)

    def forward(self, image):
        x = self.norm(self.down(image)).relu()
        x = self.up(self.middle(x).relu())
        return (self.left(x) * 4).sigmoid(), (self.right(x) * 4).sigmoid()


def output(name, kind):
    return TensorSpec(name, (1, 1, 32, 48), kind, low=0, high=1, tolerance=0.02,
                      postprocess=Postprocess())


spec = ModelSpec(
    "two",
    lambda: Net().eval(),
    inputs=(TensorSpec("image", (1, 3, 32, 48), "image", low=0, high=1, preprocess=Preprocess()),),
    outputs=(output("depth", "map"), output("mask", "mask")),
)
"""


@dataclass(frozen=True)
class Two:
    """The model's file, the cache of its builds, and its bundles by target."""

    model: str
    cache: Path
    bundles: dict[str, Bundle]


SEGMENTS = """
import torch
from torch import nn
from torch.nn import functional as F
from model_defs.spec import ModelSpec, TensorSpec


def conv(taken, made, size=3, stride=1, groups=1, act=nn.Hardswish):
    kernel = nn.Conv2d(taken, made, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(kernel, nn.BatchNorm2d(made), act())


class Squeeze(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.down, self.up = nn.Conv2d(width, width // 4, 1), nn.Conv2d(width // 4, width, 1)

    def forward(self, x):
        mean = x.mean((2, 3), keepdim=True)
        return x * F.hardsigmoid(self.up(F.relu(self.down(mean))))


class Block(nn.Module):
    def __init__(self, taken, width, made, stride):
        super().__init__()
        self.same = taken == made and stride == 1
        self.layers = nn.Sequential(
            conv(taken, width, 1),
            conv(width, width, 3, stride, width),
            Squeeze(width),
            conv(width, made, 1, act=nn.Identity),
        )

    def forward(self, x):
        return x + self.layers(x) if self.same else self.layers(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.low = conv(3, 16, stride=2), Block(16, 32, 16, 2)
        self.high = nn.Sequential(Block(16, 48, 24, 2), Block(24, 48, 24, 1))
        self.wide, self.gate = conv(24, 32, 1, act=nn.ReLU), nn.Conv2d(24, 32, 1)
        self.fine, self.coarse = nn.Conv2d(16, 2, 1), nn.Conv2d(32, 2, 1)

    def forward(self, image):
        low = self.low(self.stem(image))
        high = self.high(low)
        x = self.wide(high) * torch.sigmoid(self.gate(high.mean((2, 3), keepdim=True)))
        x = F.interpolate(x, size=low.shape[2:], mode="bilinear", align_corners=False)
        x = self.fine(low) + self.coarse(x)
        return F.interpolate(x, size=image.shape[2:], mode="bilinear").sigmoid()


def build():
    torch.manual_seed(0)
    net = Net()
    for norm in (one for one in net.modules() if isinstance(one, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias, 0, 0.3)
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.2, 2)
    return net.eval()


spec = ModelSpec(
    "segments",
    build,
    inputs=(TensorSpec("image", (1, 3, 64, 64), "image", low=0, high=1),),
    outputs=(TensorSpec("mask", (1, 2, 64, 64), "mask", low=0, high=1, tolerance=0.02),),
)
"""
"""Of 20 layers as MobileNetV3 and LR-ASPP have them, its norms far from fresh ones."""
