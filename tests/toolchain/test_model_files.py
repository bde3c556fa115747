"""`mlship build` and `mlship.convert` on models' files, from the file to the bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

import mlship as api
from tests.converters.onnx_files import model, node, numbers, save
from tests.converters.test_files import RULES, segformer
from toolchain.bundle import bundle
from toolchain.cli.main import main


def mlship(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Sigmoid()).eval()


@pytest.fixture
def net() -> nn.Module:
    return small_net()


def program(folder: Path) -> Path:
    path = folder / "small.pt2"
    torch.export.save(torch.export.export(small_net(), (torch.rand(1, 3, 16, 16),)), path)
    return path


def script(folder: Path) -> Path:
    path = folder / "small.pt"
    torch.jit.save(torch.jit.trace(small_net(), torch.rand(1, 3, 16, 16)), path)
    return path


def pickled(folder: Path) -> Path:
    path = folder / "small.pth"
    torch.save(small_net(), path)
    return path


def onnx_file(folder: Path) -> Path:
    nodes = [node("Conv", "x w", "z"), node("Relu", "z")]
    return save(folder, model(nodes, {"w": numbers(4, 3, 1, 1)}, {"x": ("n", 3, "h", "w")}))


def hugging_face(folder: Path) -> Path:
    segformer(folder / "segformer-b0", **RULES)
    return folder / "segformer-b0"


FILES: dict[str, tuple[Callable[[Path], Path], Sequence[str], str]] = {
    "a program of torch.export.save": (program, (), "ios"),
    "TorchScript": (script, ("1,3,16,16:float32:-1..1",), "android"),
    "ONNX": (onnx_file, ("x=1,3,16,16",), "web"),
    "a folder of transformers": (hugging_face, (), "all"),
    "a pickled module": (pickled, ("1,3,16,16",), "web"),
}
"""A file, what is said of its inputs, and what it is built for."""


@pytest.mark.parametrize("kind", FILES)
def test_a_file_becomes_the_same_bundle_by_both_ways(kind: str, tmp_path: Path) -> None:
    make, said, targets = FILES[kind]
    trusted = make is pickled
    path = make(tmp_path)
    words = [word for one in said for word in ("--example", one)]
    words += ["--trust-pickle"] if trusted else []
    asked = ("build", path, "--target", targets, "--json", "--out", tmp_path / "a", *words)
    result = mlship(*asked)
    assert result.exit_code == 0, result.output
    found = {one["target"] for one in json.loads(result.stdout) if one["ok"]}
    assert found == ({"ios", "android", "web"} if targets == "all" else {targets})
    named = ":".join([str(path), *said])
    for built in api.convert(named, targets=targets, out=tmp_path / "b", trust_pickle=trusted):
        assert built.cached
        shipped = bundle.read(tmp_path / "a" / f"{path.stem}-{built.target}").manifest
        assert built.shipped().manifest.files == shipped.files


def test_a_file_says_which_it_was(tmp_path: Path) -> None:
    path = program(tmp_path)
    (built,) = api.convert(path, targets="ios", out=tmp_path)
    assert built.shipped().manifest.model.weights.file == "small.pt2"


def test_sizes_have_to_be_said(tmp_path: Path) -> None:
    path = script(tmp_path)
    refused = mlship("build", path, "--target", "android", "--out", tmp_path)
    assert refused.exit_code == 2
    assert "--example 1,3,224,224" in refused.stderr
    with pytest.raises(api.BadArtifact, match="trust-pickle"):
        api.convert(pickled(tmp_path), torch.rand(1, 3, 16, 16), targets="ios", out=tmp_path)


def test_an_example_of_a_file_is_its_sizes_and_its_range(tmp_path: Path) -> None:
    path, example = script(tmp_path), torch.rand(1, 3, 16, 24) * 4 - 2
    (built,) = api.convert(path, example, targets="ios", out=tmp_path)
    manifest = built.shipped().manifest
    (photo,) = manifest.inputs
    assert photo.shape == (1, 3, 16, 24)
    assert photo.low is not None
    assert photo.low <= -1.9
    assert not any("no range" in note for note in manifest.all_notes)
    assert any("loops and branches are as they ran" in note for note in manifest.all_notes)


@pytest.mark.parametrize("example", [3, ("1,3,16,16",), torch.zeros(0), torch.zeros(2).cfloat()])
def test_an_example_that_says_nothing(example: object, tmp_path: Path) -> None:
    with pytest.raises(api.BadSpec, match="example"):
        api.convert(tmp_path / "small.pt", example, targets="ios", out=tmp_path)


def test_a_checkpoint_of_lightning_is_unwrapped(tmp_path: Path, net: nn.Module) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def net():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Sigmoid())\n"
    )
    kept = {f"model.{name}": tensor for name, tensor in net.state_dict().items()}
    whole = {"epoch": 3, "pytorch-lightning_version": "2.5.0", "state_dict": kept, "loops": {}}
    torch.save(whole, tmp_path / "last.ckpt")
    named = f"{tmp_path}/net.py:net"
    words = ("--weights", tmp_path / "last.ckpt", "--example", "1,3,16,16", "--out", tmp_path)
    result = mlship("build", named, "--target", "ios", *words)
    assert result.exit_code == 0, result.output
    assert "state_dict" in result.stdout
    assert "what is below model. was taken" in result.stdout
    spec = api.describe(small_net(), torch.rand(1, 3, 16, 16), name="net")
    (built,) = api.convert(spec, targets="ios", weights=tmp_path / "last.ckpt", out=tmp_path / "b")
    with api.load(built) as loaded:
        x = torch.rand(1, 3, 16, 16)
        (got,) = loaded.run({spec.inputs[0].name: x.numpy()}).values()
    torch.testing.assert_close(torch.from_numpy(got), net(x), rtol=2e-3, atol=2e-3)
