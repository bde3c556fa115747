"""Small regressions that are planted: 5 % of the bytes, 1.6 times the latency; each is named."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.toolchain.projects import bad, ci, copied, edit, made, mlship

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


def tflite(project: Path, out: str) -> Path:
    """The project's net as it is now, built; of the cache, which `ci` then reads as well."""
    result = mlship(
        "build", f"{project / 'net.py'}:spec", "--target", "android", "--out", project / out
    )
    assert result.exit_code == 0, result.output
    (path,) = (project / out).rglob("*.tflite")
    return path


def times_slower(old: Path, new: Path) -> float:
    """What one run takes on one thread, the least of turns that follow one another."""
    from ai_edge_litert.interpreter import Interpreter

    def runs(path: Path) -> Iterator[float]:
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        interpreter.allocate_tensors()
        (port,) = interpreter.get_input_details()
        interpreter.set_tensor(port["index"], np.full(port["shape"], 0.5, np.float32))
        while True:
            start = time.perf_counter()
            interpreter.invoke()
            yield time.perf_counter() - start

    turns = list(itertools.islice(zip(runs(old), runs(new), strict=True), 150))
    return min(b for _, b in turns) / min(a for a, _ in turns)


def test_a_layer_that_makes_it_1_6_times_slower_is_caught_and_named(project: Path) -> None:
    """One of five layers takes more multiply-adds, without other numbers: as many as this
    machine needs to be slower by that, which processors do not agree on."""
    edit(project / "mlship.toml", 'disk_growth = "4.9 %"\n', "")
    old, slower, plant = tflite(project, "old"), 0.0, THREE
    for around in ((1, 1), (1, 2), (2, 2), (3, 2), (3, 3)):
        larger = f"{THREE.replace('= ', '= larger(')}, {around[0]}, {around[1]})"
        edit(project / "net.py", plant, larger)
        plant, slower = larger, times_slower(old, tflite(project, f"new_{sum(around)}"))
        if slower > 1.6:
            break
    assert slower > 1.6
    result = ci(project)
    assert result.exit_code == 1, result.output
    found = bad(project)
    assert found.keys() == {"latency_ratio"}
    check = found["latency_ratio"]
    assert 1.1 < float(check["why"].split()[0]) < 1.5 * slower
    assert "timed side by side" in check["why"]
    assert "layer three/Conv" in check["layer"]
    text = (project / "mlship-report" / "report.md").read_text()
    assert "- **plain-android, latency_ratio** failed: " in text
    assert "Most of it is layer three/Conv" in text
