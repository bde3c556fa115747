"""Small regressions that are planted: 5 % of the bytes, 1.3 times the latency; each is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.toolchain.projects import bad, ci, copied, edit, made

NET = '''
import torch
from torch import nn
from torch.nn import functional as F
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec


def larger(layer, down, across):
    """The same layer with zeros around its kernel: it computes the same, and costs more."""
    layer.weight = nn.Parameter(F.pad(layer.weight.detach(), (across, across, down, down)))
    layer.padding = (layer.padding[0] + down, layer.padding[1] + across)
    return layer


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 16, (7, 5), stride=2, padding=(3, 2))
        self.one = nn.Conv2d(16, 16, 3, padding=1)
        self.two = nn.Conv2d(16, 16, 3, padding=1)
        self.three = nn.Conv2d(16, 16, 3, padding=1)
        self.four = nn.Conv2d(16, 16, 3, padding=1)
        self.five = nn.Conv2d(16, 16, 3, padding=1)
        self.low = nn.Conv2d(16, 5, 1)
        self.head = nn.Conv2d(21, 1, 1)

    def forward(self, image):
        x = self.down(image).relu()
        for layer in (self.one, self.two, self.three, self.four, self.five):
            x = layer(x).relu()
        low = F.interpolate(self.low(F.avg_pool2d(x, 8)), scale_factor=8.0)
        return (self.head(torch.cat([x, low], 1)) * 4).sigmoid()


image = TensorSpec("image", (1, 3, 192, 192), "image", low=0, high=1, preprocess=Preprocess())
shade = TensorSpec("shade", (1, 1, 96, 96), "map", low=0, high=1, tolerance=0.02,
                   postprocess=Postprocess())
spec = ModelSpec("plain", lambda: Net().eval(), inputs=(image,), outputs=(shade,))
'''
CONFIG = """
[project]
targets = ["android"]

[models.plain]
spec = "net.py:spec"

[budgets]
disk_growth = "4.9 %"
latency_ratio = 1.1
"""
LOW = "nn.Conv2d(16, 5, 1)"
THREE = "self.three = nn.Conv2d(16, 16, 3, padding=1)"


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("planted"), NET, CONFIG, "ci", "--update-baseline")


@pytest.fixture
def project(green: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(green, tmp_path, monkeypatch)


def test_five_percent_more_bytes_are_caught_and_their_layer_is_named(project: Path) -> None:
    """On a picture of 12 x 12, so that it takes no longer to speak of. A kernel's size is a whole
    number: it is 1.6 kB of a file of 31.41."""
    edit(project / "net.py", LOW, f"larger({LOW}, 0, 5)")
    result = ci(project)
    assert result.exit_code == 1, result.output
    found = bad(project)
    assert found.keys() == {"disk_growth"}
    assert "grew by 5.1%" in found["disk_growth"]["why"]
    assert "layer low/Conv" in found["disk_growth"]["layer"]
    text = (project / "mlship-report" / "report.md").read_text()
    assert "- **plain-android, disk_growth** failed: grew by 5.1%" in text
    assert "Most of it is layer low/Conv" in text


def test_a_layer_that_makes_it_1_3_times_slower_is_caught_and_named(project: Path) -> None:
    """One of five layers takes 2.8 times as many multiply-adds, without other numbers."""
    edit(project / "mlship.toml", 'disk_growth = "4.9 %"\n', "")
    edit(project / "net.py", THREE, f"{THREE.replace('= ', '= larger(')}, 1, 1)")
    result = ci(project)
    assert result.exit_code == 1, result.output
    found = bad(project)
    assert found.keys() == {"latency_ratio"}
    check = found["latency_ratio"]
    assert 1.1 < float(check["why"].split()[0]) < 1.5
    assert "timed side by side" in check["why"]
    assert "layer three/Conv" in check["layer"]
    text = (project / "mlship-report" / "report.md").read_text()
    assert "- **plain-android, latency_ratio** failed: 1." in text
    assert "Most of it is layer three/Conv" in text
