"""A pipe, a folder or a device in the place of a file is called one at every door, at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from converters.files import read as files
from converters.weights import read_weights
from model_defs import lookup, pixels
from model_defs.errors import BadKey, BadWeights, MlshipError
from model_defs.files import check_file
from model_defs.spec import TensorSpec
from toolchain.applications.inputs import _read_tensor
from toolchain.build.build import build
from toolchain.build.request import BuildRequest
from toolchain.recipes import recipes, targets
from toolchain.signing.keys import content
from toolchain.training.loop import _digest

DOORS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "weights": ("w.pt", read_weights),
    "weights of a build": (
        "w.safetensors",
        lambda path: build(
            BuildRequest(
                ("depth",),
                targets.find(["ios"]),
                recipes.find("fp16"),
                weights=path,
                out=path.parent,
            )
        ),
    ),
    "weights to start from": ("w.pt", _digest),
    "a model of ONNX": ("a.onnx", lambda path: files.read(str(path))),
    "a model of PyTorch": ("a.pt2", lambda path: files.read(str(path))),
    "a file of Python": ("net.py", lambda path: lookup.load(f"{path}:spec")),
    "a picture": ("a.png", pixels.open_picture),
    "tensors": ("a.npy", lambda path: _read_tensor(path, TensorSpec("a", (2,), "state"))),
    "a key": ("a.pem", content),
}


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


THERE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (os.mkfifo, "this is a pipe, not a"),
    "a link to a device": (link_to_a_device, "this is a device, not a"),
    "nothing": (lambda path: None, "there is no such"),
}


@pytest.mark.parametrize("there", THERE)
@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_file_is_named_and_not_opened(door: str, there: str, tmp_path: Path) -> None:
    name, read = DOORS[door]
    put, said = THERE[there]
    put(tmp_path / name)
    with pytest.raises(MlshipError, match=said) as caught:
        read(tmp_path / name)
    assert caught.value.exit_code == 2
    assert str(tmp_path / name) in caught.value.where
    assert caught.value.do


def test_a_file_is_taken_through_a_link_too(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").symlink_to("a")
    assert [check_file(tmp_path / name, "file", BadWeights).st_size for name in "ab"] == [3, 3]


def test_a_path_below_a_file_and_one_too_long(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(BadKey, match="there is no such key"):
        check_file(tmp_path / "a" / "b", "key", BadKey)
    with pytest.raises(OSError, match="too long"):
        check_file(tmp_path / ("x" * 300), "key", BadKey)
