"""An ONNX file from the command line, and from Python, to bundles of every target."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import mlship
from tests.converters.onnx_files import model, net, node, save
from toolchain.cli.main import main


def test_an_onnx_file_is_built_for_all_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, net("h", "w"))
    monkeypatch.chdir(tmp_path)
    name = "net.onnx:pixel.values:0=1,3,16,16"
    words = ["build", name, "--target", "all", "--out", "dist", "--json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert [one["ok"] for one in json.loads(result.stdout)] == [True] * 3
    again = mlship.convert(Path(name), targets="all", out=tmp_path / "again")
    assert [built.cached for built in again] == [True] * 3
    notes = again[0].shipped().manifest.all_notes
    assert any("ONNX Runtime" in note or "reference" in note for note in notes)
    assert [one.name for one in again[0].shipped().manifest.outputs] == ["mask", "probs"]


def test_another_file_of_the_same_name_is_built_anew(tmp_path: Path) -> None:
    path = save(tmp_path, model([node("Relu", "x")]))
    mlship.convert(path, targets="android", out=tmp_path / "dist")
    save(tmp_path, model([node("Sigmoid", "x")]))
    (built,) = mlship.convert(path, targets="android", out=tmp_path / "dist")
    assert not built.cached


@pytest.mark.parametrize("content", [b"", b"none"])
def test_a_bad_file_has_no_traceback(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    result = CliRunner().invoke(main, ["build", str(path), "--target", "web"])
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert str(path) in result.output
