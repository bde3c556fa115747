"""coremltools, loaded once for all tests of the interpreter, and a small net to damage."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mil_packages import convert
from torch import Tensor, nn

from converters.coreml.tools import coremltools


@pytest.fixture(scope="session")
def ct() -> Any:
    return coremltools()


class Net(nn.Module):
    """Convolution, pooling, a resize and a softmax: small, but of several kinds of argument."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(6, 4, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.conv(x), 0.1)
        y = F.pad(F.max_pool2d(y, 2), (1, 1, 1, 1), mode="reflect")
        y = F.interpolate(self.up(y), scale_factor=2.0, mode="bilinear", align_corners=True)
        return F.softmax(torch.cat([y, y.mean((2, 3), keepdim=True) + y], 1), 1)


INPUT = (1, 3, 20, 16)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The net's packages by precision; not to be changed, see `package`."""
    folder = tmp_path_factory.mktemp("saved")
    paths = {p: folder / f"{p}.mlpackage" for p in ("FLOAT32", "FLOAT16")}
    for precision, path in paths.items():
        convert(Net(), [torch.rand(INPUT)], path, ["y"], "iOS16", precision)
    return paths


@pytest.fixture
def package(saved: dict[str, Path], tmp_path: Path) -> Path:
    """A float32 package of one's own, to be damaged."""
    return Path(shutil.copytree(saved["FLOAT32"], tmp_path / "own.mlpackage"))


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    return np.random.default_rng(0).random(INPUT, np.float32)


@pytest.fixture(scope="session")
def truth(image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return Net().eval()(torch.from_numpy(image)).numpy()
