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
