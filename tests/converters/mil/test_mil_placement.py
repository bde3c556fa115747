"""Placement hints: given for what sources name, with the source, and for nothing else."""

from __future__ import annotations

from pathlib import Path

import torch
from mil_packages import convert
from torch import Tensor, nn

from converters import mil
from converters.mil.placement import LAYERS, TYPES, Hint, hints


class Net(nn.Module):
    """A plain and a dilated convolution, and a gather."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(3, 4, 3, padding=1)
        self.dilated = nn.Conv2d(4, 4, 3, padding=2, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.dilated(self.plain(x))[:, torch.tensor([2, 0, 3])]


def found(folder: Path, module: nn.Module, precision: str) -> dict[str, Hint]:
    path = folder / "net.mlpackage"
    convert(module, [torch.rand(1, 3, 8, 8)], path, ["y"], "iOS16", precision)
    return {hint.operation: hint for hint in hints(mil.open_package(path).main)}


def test_names_a_dilated_convolution_and_a_gather(tmp_path: Path) -> None:
    rows = found(tmp_path, Net(), "FLOAT16")
    assert rows.keys() == {"conv", "gather"}
    assert rows["conv"].count == rows["gather"].count == 1
    assert rows["conv"].source == LAYERS
    assert "may leave the Neural Engine" in str(rows["gather"])


def test_is_quiet_about_plain_float16(tmp_path: Path) -> None:
    assert found(tmp_path, nn.Conv2d(3, 4, 3), "FLOAT16") == {}


def test_names_float32_once(tmp_path: Path) -> None:
    rows = found(tmp_path, nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "FLOAT32")
    assert rows.keys() == {"operation"}
    assert rows["operation"].count == 2
    assert rows["operation"].source == TYPES
