"""`mlship build` and `mlship.convert` on models' files, from the file to the bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

import mlship as api
from toolchain.bundle import bundle
from toolchain.cli.main import main


def mlship(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Sigmoid()).eval()


def test_a_program_becomes_the_same_bundle_by_both_ways(net: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "small.pt2"
    torch.export.save(torch.export.export(net, (torch.rand(1, 3, 16, 16),)), path)
    result = mlship("build", path, "--target", "ios", "--out", tmp_path / "a")
    assert result.exit_code == 0, result.output
    shipped = bundle.read(tmp_path / "a" / "small-ios").manifest
    assert shipped.model.weights.file == "small.pt2"
    (built,) = api.convert(path, targets="ios", out=tmp_path / "b")
    assert built.cached
    assert built.shipped().manifest.files == shipped.files


def test_torchscript_is_built_with_the_sizes_that_are_said(net: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "small.pt"
    torch.jit.save(torch.jit.trace(net, torch.rand(1, 3, 16, 16)), path)
    refused = mlship("build", path, "--target", "android", "--out", tmp_path)
    assert refused.exit_code == 2
    assert "--example 1,3,224,224" in refused.stderr
    asked = ("--target", "android", "--example", "1,3,16,16", "--out", tmp_path)
    result = mlship("build", path, *asked)
    assert result.exit_code == 0, result.output
    assert "loops and branches are as they ran" in result.stdout
