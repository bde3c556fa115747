"""What all tests share: a cache of their own, two threads, tiny models."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts with an empty cache, unless it shares one on purpose."""
    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path_factory.mktemp("cache")))


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


@pytest.fixture
def write_tiny(tmp_path: Path) -> Callable[..., str]:
    """Writes a model file of a user's own; returns `path:spec`."""

    def write(body: str = "x", build: str = "lambda: Net().eval()", name: str = "net.py") -> str:
        path = tmp_path / name
        path.write_text(TINY.replace("{body}", body).replace("{build}", build))
        return f"{path}:spec"

    return write


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.py, a cache, the bundles of one build for all targets and its output."""
    from click.testing import CliRunner

    from toolchain.cli import main

    root = tmp_path_factory.mktemp("shared")
    text = TINY.replace("{body}", "x").replace("{build}", "lambda: Net().eval()")
    (root / "net.py").write_text(text)
    command = ["build", f"{root}/net.py:spec", "--target", "all", "--out", str(root / "dist")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSHIP_CACHE", str(root / "cache"))
        result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    (root / "printed.txt").write_text(result.stdout)
    return root
