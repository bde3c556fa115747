"""What lies in a bundle is a file of the size that it says, or it is not opened."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from own_models import Two
from safetensors.numpy import save_file

from model_defs.errors import BadBundle
from tests.attack.manifests import mutants
from tests.toolchain.manifests import Change, contents, resealed
from toolchain.bundle import bundle
from toolchain.cli.main import main

NAME = "tiny.bin"


def folder(path: Path) -> Path:
    """A bundle whose artifact is a few bytes."""
    path.mkdir()
    (path / NAME).write_bytes(b"weights")
    bundle.seal(path, contents())
    return path


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _link_out(path: Path) -> None:
    outside = path.parent.parent / "outside"
    outside.write_bytes(b"weights")
    path.symlink_to(outside)


IN_THE_WAY: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link to the same bytes": (_link_out, "is a link, not a file"),
    "a link to an endless device": (lambda p: p.symlink_to("/dev/zero"), "is a link, not a file"),
    "a link to nothing": (lambda p: p.symlink_to("nowhere"), "is a link, not a file"),
    "a pipe": (os.mkfifo, "is a pipe, not a file"),
    "a socket": (_socket, "is a socket, not a file"),
    "a folder": (Path.mkdir, "is missing"),
    "fewer bytes": (lambda p: p.write_bytes(b"weigh"), "it has 5 bytes, not 7"),
    "as many others": (lambda p: p.write_bytes(b"WEIGHTS"), "its checksum does not match"),
}


@pytest.mark.parametrize("what", IN_THE_WAY)
def test_what_is_no_file_of_the_bundle_is_named_and_not_opened(what: str, tmp_path: Path) -> None:
    found = folder(tmp_path / "b")
    put, said = IN_THE_WAY[what]
    (found / NAME).unlink()
    put(found / NAME)
    with pytest.raises(BadBundle, match=said):
        bundle.read(found)


@pytest.mark.parametrize("what", [*IN_THE_WAY][:5])
def test_the_manifest_is_a_file(what: str, tmp_path: Path) -> None:
    found = folder(tmp_path / "b")
    put, said = IN_THE_WAY[what]
    (found / "manifest.json").unlink()
    put(found / "manifest.json")
    with pytest.raises(BadBundle, match=said.removesuffix(", not a file")):
        bundle.read(found)


def test_a_manifest_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    found = folder(tmp_path / "b")
    os.truncate(found / "manifest.json", 8 << 30)
    with pytest.raises(BadBundle, match="too large: 8590 MB"):
        bundle.read(found)


def test_a_link_to_a_bundle_is_the_users_and_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder(tmp_path / "b"))
    assert bundle.read(tmp_path / "link").name == "tiny"


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    found = folder(tmp_path / "b")
    (found / "more").symlink_to(tmp_path)
    with pytest.raises(BadBundle, match="more is a link, not a file"):
        bundle.read(found)


@pytest.fixture
def copy(two: Two, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two.bundles["android"].directory, tmp_path / "copy"))


def golden(found: Path) -> Path:
    return found / json.loads((found / "manifest.json").read_text())["golden"][0]


GOLDEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda p: p.write_bytes(b""), "cannot be read"),
    "words": (lambda p: p.write_text("golden"), "cannot be read"),
    "another name": (lambda p: save_file({"x": np.zeros(1)}, p), "no tensor 'image'"),
    "another shape": (
        lambda p: save_file(dict.fromkeys(("image", "left", "right"), np.zeros(1)), p),
        "has shape",
    ),
}


@pytest.mark.parametrize("what", GOLDEN)
def test_golden_vectors_that_are_none_are_said(what: str, copy: Path) -> None:
    put, said = GOLDEN[what]
    put(golden(copy))
    result = CliRunner().invoke(main, ["parity", str(resealed(copy))])
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "where: " in result.stderr
    assert "do: " in result.stderr


@pytest.mark.parametrize("target", ["ios", "android", "web"])
def test_who_refuses_an_empty_artifact_says_where_and_what_to_do(
    target: str, two: Two, tmp_path: Path
) -> None:
    found = Path(shutil.copytree(two.bundles[target].directory, tmp_path / "copy"))
    artifact = found / two.bundles[target].manifest.artifact.path
    for path in [artifact, *artifact.rglob("*")]:
        if path.is_file():
            path.write_bytes(b"")
    resealed(found)
    refused = 0
    for command in ("inspect", "size", "audit", "blame"):
        result = CliRunner().invoke(main, [command, str(found), "--json"])
        said = json.loads(result.stdout)
        assert result.exit_code in (1, 2), result.output
        if result.exit_code == 2:
            assert str(found) in said["error"]["where"], said
            assert said["error"]["do"], said
            refused += 1
    assert refused >= 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(golden=m["golden"][:1]), "is of no case of golden"),
        (lambda m: m.update(golden=m["golden"] * 2), "a file stands twice"),
    ],
)
def test_rounded_answers_are_of_golden_pictures(change: Change, said: str, copy: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(resealed(copy, change))])
    assert result.exit_code == 2
    assert said in result.stderr


def test_what_was_not_compared_does_not_pass(copy: Path) -> None:
    shutil.rmtree(copy / "golden")
    resealed(copy, lambda manifest: manifest.update(golden=[], golden_rounded=[]))
    assert CliRunner().invoke(main, ["inspect", str(copy)]).exit_code == 3


@pytest.mark.parametrize("name", ["{}/gift.py:spec", "gift", "../gift.py:spec", "{}/gift.onnx"])
def test_no_code_is_imported_that_a_manifest_names(name: str, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "gift.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nspec = 1\n")
    resealed(copy, lambda manifest: manifest["model"].update(name=name.format(tmp_path)))
    for command in COMMANDS.values():
        result = CliRunner().invoke(main, [*command, str(copy)])
        assert result.exit_code in (0, 1, 2), result.output
    assert not (tmp_path / "ran").exists()


COMMANDS = {
    "inspect": ["inspect"],
    "parity": ["parity"],
    "size": ["size"],
    "audit": ["audit"],
    "blame": ["blame"],
    "eval": ["eval"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_or_answers(command: str, copy: Path) -> None:
    good = json.loads((copy / "manifest.json").read_text())
    codes = []
    for text in mutants(good, 8, seed=len(command)):
        (copy / "manifest.json").write_text(text)
        codes.append(CliRunner().invoke(main, [*COMMANDS[command], str(copy)]).exit_code)
    assert set(codes) <= {0, 1, 2, 3}


REFUSED = """
import sys
from click.testing import CliRunner
from toolchain.cli.main import main
for command in ("inspect", "parity", "size", "audit", "blame", "eval", "bench"):
    assert CliRunner().invoke(main, [command, sys.argv[1]]).exit_code == 2, command
assert CliRunner().invoke(main, ["diff", sys.argv[1], sys.argv[1]]).exit_code == 2
assert CliRunner().invoke(main, ["run", sys.argv[1], "x.png", "-o", "y.png"]).exit_code == 2
assert "torch" not in sys.modules and "tensorflow" not in sys.modules
"""


def test_a_bad_manifest_is_refused_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    found = folder(tmp_path / "b")
    (found / "manifest.json").write_text('{"schema": 99}')
    subprocess.run([sys.executable, "-c", REFUSED, str(found)], check=True, timeout=60)
