"""What the README shows works."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from model_defs import zoo
from toolchain.cli.main import main

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def shown(name: str) -> str:
    """The file of that name that the README shows."""
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    (block,) = (block for block in blocks if block.startswith(f"# {name}\n"))
    return str(block)


def own_model() -> str:
    return shown("my_net.py")


def test_a_model_of_ones_own_is_short() -> None:
    assert len(own_model().splitlines()) < 40


def test_a_model_of_ones_own_is_built_for_every_target(tmp_path: Path) -> None:
    (tmp_path / "my_net.py").write_text(own_model())
    asked = ["build", f"{tmp_path}/my_net.py:spec", "--target", "all", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, [*asked, "--json"])
    assert result.exit_code == 0, result.output
    assert [entry["ok"] for entry in json.loads(result.stdout)] == [True, True, True]


def test_three_lines_of_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```python\n(import mlship\n.*?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (60, 40), "red").save("photo.jpg")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 3, stride=8, padding=1), torch.nn.Sigmoid())
    names = {"net": net, "torch": torch}
    exec(block, names)
    assert sorted(path.name for path in Path("dist").iterdir()) == [
        *("sequential-android", "sequential-ios", "sequential-web")
    ]


def test_a_task_of_ones_own_is_short() -> None:
    assert len(shown("my_task.py").splitlines()) <= 32


def test_a_task_of_ones_own_trains_on_a_folder_of_photographs_and_masks(tmp_path: Path) -> None:
    (tmp_path / "my_task.py").write_text(shown("my_task.py"))
    (tmp_path / "photos").mkdir()
    for number in range(5):
        mask = np.zeros((60, 40), np.uint8)
        mask[20:, 5 * number : 5 * number + 20] = 255
        Image.fromarray(mask).save(tmp_path / "photos" / f"{number}.png")
        Image.fromarray(255 - mask).convert("RGB").save(tmp_path / "photos" / f"{number}.jpg")
    out = tmp_path / "run"
    asked = [
        "train",
        f"{tmp_path}/my_task.py:task",
        "--steps",
        "2",
        "--batch",
        "2",
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(main, [*asked, "--out", str(out), "--size", "0.3", "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["metric"] == "mean IoU"
    assert 0 <= said["score"] <= 1
    weights = load_file(out / "weights.safetensors")
    assert weights.keys() == zoo.load("portrait").build().state_dict().keys()


def test_a_task_that_a_file_does_not_have_is_told_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "my_task.py").write_text(shown("my_task.py"))
    result = CliRunner().invoke(main, ["train", f"{tmp_path}/my_task.py:tusk"])
    assert result.exit_code == 2
    assert "did you mean 'task'" in result.stderr
