"""From a photograph to a picture: a bundle that is fed by another rule is caught."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from own_models import Two
from test_loading import ask, decoded, rgba

from converters.tfjs.runner import NODE
from model_defs.pixels import open_picture
from tests.toolchain.manifests import resealed
from toolchain.applications.run import run_bundle
from toolchain.cli.main import main
from toolchain.data.cases import PHOTO

Change = Callable[[dict[str, Any]], None]


def of_input(**rules: Any) -> Change:
    return lambda manifest: manifest["inputs"][0]["preprocess"].update(rules)


def of_output(**rules: Any) -> Change:
    return lambda manifest: manifest["outputs"][0]["postprocess"].update(rules)


CHANGES: dict[str, tuple[Change, str]] = {
    "0..255": (of_input(std=[1.0] * 3), "std is (1.0, 1.0, 1.0), the model (255.0, 255.0, 255.0)"),
    "-1..1": (of_input(mean=[127.5] * 3, std=[127.5] * 3), "mean is (127.5"),
    "BGR": (of_input(colour="BGR"), "colour is 'BGR', the model 'RGB'"),
    "nearest": (of_input(filter="nearest"), "filter is 'nearest', the model 'bilinear'"),
    "letterbox": (of_input(resize="letterbox"), "resize is 'letterbox', the model 'stretch'"),
    "another output range": (of_output(high=0.5), "high of postprocess is 0.5, the model 1.0"),
}


def changed(two: Two, target: str, change: Change, folder: Path) -> Path:
    """A copy of a bundle with another manifest, sealed as if it had been built so."""
    made = two.bundles[target]
    shutil.copytree(made.directory, folder)
    return resealed(folder, change)


@pytest.mark.parametrize("name", CHANGES)
def test_parity_refuses_a_bundle_that_is_fed_otherwise(name: str, two: Two, tmp_path: Path) -> None:
    change, words = CHANGES[name]
    folder = changed(two, "android", change, tmp_path / "changed")
    command = ["parity", str(folder), "--model", two.model, "--backend", "litert"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_copy_that_is_not_changed_passes(two: Two, tmp_path: Path) -> None:
    folder = changed(two, "android", lambda manifest: None, tmp_path / "same")
    command = ["parity", str(folder), "--model", two.model, "--backend", "litert"]
    assert CliRunner().invoke(main, command).exit_code == 0


def python_picture(folder: Path, out: Path) -> np.ndarray:
    run_bundle(folder, PHOTO, (), "depth", out)
    return open_picture(out)


def web_picture(folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """What the bundle's own loading code makes of the photograph, in Node."""
    job = {
        **{"command": "run", "node": str(NODE), "bundle": str(folder)},
        **{"input": "image", "output": "depth", "picture": rgba(open_picture(PHOTO))},
    }
    (answer,) = ask([job], folder / "mlship.mjs")
    assert "error" not in answer, answer
    return decoded(answer["value"]["data"], np.uint8).reshape(*shape[:2], 4)[..., :3]


@pytest.mark.parametrize("name", ["0..255", "BGR", "nearest", "another output range"])
def test_the_final_picture_shows_each_wrong_rule(name: str, two: Two, tmp_path: Path) -> None:
    """Both sides read the rule from the manifest: one that has another draws another picture."""
    right = two.bundles["web"].directory
    wrong = changed(two, "web", CHANGES[name][0], tmp_path / "wrong")
    want = python_picture(right, tmp_path / "right.png")
    np.testing.assert_array_equal(web_picture(right, want.shape), want)
    got = web_picture(wrong, want.shape)
    assert np.abs(got.astype(int) - want).max() >= 3
    np.testing.assert_array_equal(got, python_picture(wrong, tmp_path / "wrong.png"))
