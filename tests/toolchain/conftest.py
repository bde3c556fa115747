"""What the tests of parity share: a small model of two outputs, built for all targets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from toolchain import bundle
from toolchain.bundle import Bundle

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


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    """A model with a map and a mask, whose bundles are honest; recipe fp16."""
    from toolchain.cli import main

    root = tmp_path_factory.mktemp("two")
    (root / "net.py").write_text(TWO)
    model = f"{root}/net.py:spec"
    before = os.environ.get("MLSHIP_CACHE")
    os.environ["MLSHIP_CACHE"] = str(root / "cache")
    try:
        result = CliRunner().invoke(main, ["build", model, "--target", "all", "--out", str(root)])
    finally:
        if before is not None:
            os.environ["MLSHIP_CACHE"] = before
    assert result.exit_code == 0, result.output
    targets = ("ios", "android", "web")
    return Two(model, root / "cache", {t: bundle.read(Path(root) / f"two-{t}") for t in targets})
