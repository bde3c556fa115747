"""A head with weights of its own: a file that is given to it is the head's, never its trunk's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from converters.capture import capture
from model_defs import lookup, zoo
from toolchain.cli.main import main
from toolchain.data.trunks import Trunks

NET = """
from model_defs.spec import ModelSpec, Preprocess, TensorSpec
from torch import nn


class Features(nn.Module):
    def __init__(self, inside, outside):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, padding=1)

    def forward(self, x):
        return self.conv(x).sigmoid()


class Mask(nn.Module):
    def __init__(self):
        super().__init__()
        self.classify = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x):
        return self.classify(x).sigmoid()


IMAGE = TensorSpec("image", (1, 3, 16, 24), "image", low=0.0, high=1.0, preprocess=Preprocess())


def features(name, channels):
    return TensorSpec(name, (1, channels, 16, 24), "features", low=0.0, high=1.0, tolerance=0.01)


stem = ModelSpec("stem", lambda: Features(3, 5), (IMAGE,), (features("low", 5),))
trunk = ModelSpec("trunk", lambda: Features(5, 4), (features("low", 5),), (features("deep", 4),),
                  fed_by=f"{__file__}:stem")
head = ModelSpec("head", Mask, (features("deep", 4),),
                 (TensorSpec("mask", (1, 1, 16, 24), "mask", low=0.0, high=1.0, tolerance=0.01),),
                 fed_by=f"{__file__}:trunk")
"""


@dataclass(frozen=True)
class Head:
    """A head on two trunks, a file of weights for it, and a bundle that was built of both."""

    model: str
    weights: Path
    bundle: Path


def mlship(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def own_weights(model: str, path: Path, added: float = 0.01) -> Path:
    """A file with other numbers than those that the model has anyway."""
    state = capture(lookup.load(model)).module.state_dict()
    save_file({name: tensor + added for name, tensor in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("head")


@pytest.fixture(autouse=True)
def _cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSHIP_CACHE", str(root / "cache"))


@pytest.fixture
def head(root: Path) -> Head:
    model, weights = f"{root}/net.py:head", root / "head.safetensors"
    found = Head(model, weights, root / "dist" / "head-android")
    if not found.bundle.is_dir():
        (root / "net.py").write_text(NET)
        own_weights(model, weights)
        built = mlship("build", model, "--weights", weights, "--target", "android", "--out",
                       root / "dist")  # fmt: skip
        assert built.exit_code == 0, built.output
    return found


def test_trunks_come_in_the_order_in_which_they_feed(head: Head) -> None:
    spec = lookup.load(head.model)
    trunks = Trunks.of(spec)
    assert [program.spec.name for program in trunks.programs] == ["stem", "trunk"]
    assert trunks.first.name == "stem"
    image = torch.rand(1, 3, 16, 24, generator=torch.manual_seed(0))
    stem, trunk = (program.module for program in trunks.programs)
    fed = trunks.feed({"image": image.numpy()})
    assert torch.equal(torch.from_numpy(fed["deep"]), trunk(stem(image)))
    alone = Trunks.of(lookup.load(f"{Path(head.model).parent}/net.py:stem"))
    assert (alone.programs, alone.first.name) == ((), "stem")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("parity", ["--target", "android"]),
        ("blame", ["--target", "android"]),
        ("audit", []),
        ("size", ["--target", "android"]),
        ("bench", ["--target", "android", "--runtime", "litert"]),
        ("sensitivity", ["--recipe", "small"]),
        ("sensitivity", ["--recipe", "small", "--metric", "--scenes", "2"]),
        ("shrink", ["--target", "android", "--max-bytes", "1MB", "--scenes", "2"]),
    ],
)
def test_a_command_takes_them_for_the_head_alone(
    command: str, options: list[str], head: Head, tmp_path: Path
) -> None:
    if command == "shrink":
        options = [*options, "--out", str(tmp_path)]
    result = mlship(command, head.model, "--weights", head.weights, *options)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", ["parity", "blame"])
def test_a_bundle_is_compared_with_the_head_that_it_was_built_of(command: str, head: Head) -> None:
    asked = (command, head.bundle, "--model", head.model)
    result = mlship(*asked, "--weights", head.weights)
    assert result.exit_code == 0, result.output


def test_other_weights_are_seen(head: Head, tmp_path: Path) -> None:
    """Without the file, or with another one, it is another head."""
    assert mlship("parity", head.bundle, "--model", head.model).exit_code == 1
    other = own_weights(head.model, tmp_path / "other.safetensors", added=0.2)
    lie = mlship("parity", head.bundle, "--model", head.model, "--weights", other)
    assert lie.exit_code == 1
    assert "stale" in lie.stderr


def test_ci_takes_them(head: Head, tmp_path: Path) -> None:
    (tmp_path / "mlship.toml").write_text(
        f"""
[models.head]
spec = "{head.model}"
weights = "{head.weights}"
targets = ["android"]
"""
    )
    result = mlship("ci", "--project", tmp_path, "--update-baseline")
    report = json.loads((tmp_path / "mlship-report" / "report.json").read_text())
    assert result.exit_code == 0, report
    verdicts = {row["kind"]: row["verdict"] for row in report["checks"]}
    assert (verdicts["bundle"], verdicts["parity"]) == ("passed", "passed")


def test_eval_takes_them(tmp_path: Path) -> None:
    weights = own_weights("portrait-head", tmp_path / "mine.safetensors")
    command = ("eval", "portrait-head", "--scenes", 2, "--json")
    mine, shipped = mlship(*command, "--weights", weights), mlship(*command)
    assert mine.exit_code == shipped.exit_code == 0, mine.output
    (mine_found,), (found,) = json.loads(mine.stdout), json.loads(shipped.stdout)
    assert mine_found["weights"].startswith("mine.safetensors")
    assert found["weights"].startswith(str(zoo.load("portrait-head").weights).rpartition("/")[2])
    assert mine_found["rows"][0]["metrics"] != found["rows"][0]["metrics"]
