"""`mlship matrix`: every model in every recipe for every target, one table, nothing done twice."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.toolchain.projects import mlship
from toolchain.bundle import bundle
from toolchain.bundle.parity_report import ParityRow
from toolchain.cluster import work
from toolchain.sweep import cell

NETS = """
import torch
from torch import nn
from mlship import ModelSpec, TensorSpec


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, image):
        return self.conv(image).sigmoid()


class Wrong(Net):
    def forward(self, image):
        return torch.linalg.svd(self.conv(image))[1]


image = TensorSpec("image", (1, 3, 8, 8), "image", low=0, high=1)
out = TensorSpec("out", (1, 4, 8, 8), "map", low=0, high=1, tolerance=0.02)
net = ModelSpec("net", Net, (image,), (out,))
wrong = ModelSpec("wrong", Wrong, (image,), (TensorSpec("out", (1, 4, 8), "map", tolerance=0.1),))
"""
PROJECT = """
schema = 2
[project]
targets = ["android"]
[models.net]
spec = "nets.py:net"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matrix")
    (folder / "nets.py").write_text(NETS)
    (folder / "mlship.toml").write_text(PROJECT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSHIP_CACHE", str(folder / "cache"))
        result = mlship(*asked(folder))
    (folder / "said.json").write_text(result.stdout)
    assert result.exit_code in (2, 4), result.output
    return folder


def asked(folder: Path) -> list[object]:
    models = [folder / "nets.py:net", folder / "nets.py:wrong"]
    recipes = ["--recipe", "fp32", "--recipe", "fp16"]
    places = ["--target", "android", "--target", "web", "--out", folder / "dist"]
    return ["matrix", *models, *recipes, *places, "--report", folder / "report", "--json"]


def rows(folder: Path) -> list[Any]:
    found: list[Any] = json.loads((folder / "said.json").read_text())["rows"]
    return found


def test_every_combination_has_a_row(home: Path) -> None:
    found = {(r["model"], r["recipe"], r["target"]): r for r in rows(home)}
    assert len(found) == 8
    for (model, recipe, target), row in found.items():
        assert row["ok"] == (model == "net")
        if model == "net":
            shipped = bundle.read(home / "dist" / recipe / f"net-{target}")
            assert shipped.artifact_bytes == row["bytes"]
            assert all(b["verdict"] == "passed" for b in row["backends"].values())
            assert row["backends"]
    with (home / "report" / "table.csv").open(newline="") as file:
        assert [r["model"] for r in csv.DictReader(file)] == [r["model"] for r in rows(home)]


def test_what_cannot_be_built_is_said_for_each_target(home: Path) -> None:
    refused = [row for row in rows(home) if not row["ok"]]
    assert len(refused) == 4
    assert all("svd" in row["problem"] for row in refused)


def test_again_nothing_is_built(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSHIP_CACHE", str(home / "cache"))
    monkeypatch.setattr(work, "_function", lambda kind: pytest.fail("it is done again"))
    named = [one for one in asked(home) if not str(one).endswith(":wrong")]
    result = mlship(*named)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows"] == rows(home)[:4]


def test_an_object_that_is_gone_is_built_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(home / "cache", tmp_path / "cache")
    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path / "cache"))
    shutil.rmtree(tmp_path / "cache" / "objects")
    out = ["--out", tmp_path / "dist", "--recipe", "fp32", "--target", "android"]
    result = mlship("matrix", home / "nets.py:net", *out)
    assert result.exit_code == 0, result.output
    assert bundle.read(tmp_path / "dist" / "fp32" / "net-android")


def test_the_models_of_a_project_on_every_backend(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLSHIP_CACHE", str(home / "cache"))
    how = ["--target", "android", "--backend", "litert", "--backend", "litert-xnnpack", "--json"]
    result = mlship("matrix", "--project", home, "--out", tmp_path, *how[:4], "--json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["rows"]
    assert row["model"] == "net"
    assert row["backends"]["litert"]["verdict"] == "passed"


def test_a_summary_says_the_worst() -> None:
    made = [
        ParityRow("litert", "a", "out", "passed", 0.1, 1.0),
        ParityRow("litert", "b", "out", "failed", 2.0, 1.0),
        ParityRow("litert", "c", "out", "skipped", None, None, note="slow"),
        ParityRow("coreml", "-", "out", "skipped", None, None, note="needs a Mac"),
        ParityRow("golden", "a", "out", "failed", 1.0, 0.1),
    ]
    assert cell.summary(made, {"litert": 2.04}) == {
        "litert": {"verdict": "failed", "share": 2.0, "cases": 2, "note": "", "seconds": 2.0},
        "coreml": {
            "verdict": "skipped",
            "share": None,
            "cases": 0,
            "note": "needs a Mac",
            "seconds": 0.0,
        },
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["depht"], "did you mean 'depth'"),
        (["depth", "--recipe", "fp17"], "unknown recipe"),
        (["depth", "--backend", "lite"], "unknown backend"),
        (["depth", "portrait", "--weights", "x.pt"], "--weights are of one MODEL"),
        (["depth", "--all"], "either MODELs or --all"),
        (["depth", "--cluster", "locl"], "no cluster"),
        ([], "mlship.toml"),
    ],
)
def test_what_cannot_be_meant(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = mlship("matrix", *arguments)
    assert result.exit_code == 2
    assert said in result.output
