"""Bundles are written whole or not at all, and damage is seen."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from model_defs.errors import BadBundle, CannotWrite
from tests.toolchain.manifests import IMAGE, contents
from toolchain.bundle import bundle, folders
from toolchain.bundle.files import file_digest


def make(destination: Path, content: bytes = b"weights") -> bundle.Bundle:
    with bundle.staging(destination) as stage:
        (stage / "tiny.bin").write_bytes(content)
        bundle.seal(stage, contents())
        return bundle.publish(stage, destination)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    make(tmp_path / "out")
    found = bundle.read(tmp_path / "out")
    assert (found.name, found.target, found.inputs) == ("tiny", "ios", (IMAGE,))
    assert found.artifact_bytes == 7
    assert os.listdir(tmp_path) == ["out"]


def truncate(path: Path) -> None:
    (path / "tiny.bin").write_bytes(b"wei")


def remove(path: Path) -> None:
    (path / "tiny.bin").unlink()


def add(path: Path) -> None:
    (path / "more.txt").write_text("?")


def edit_manifest(path: Path) -> None:
    text = (path / bundle.MANIFEST).read_text().replace('"high": 1', '"high": 2')
    (path / bundle.MANIFEST).write_text(text)


def edit_checksum(path: Path) -> None:
    data = json.loads((path / bundle.MANIFEST).read_text())
    (path / "tiny.bin").write_bytes(b"changed")
    data["files"]["tiny.bin"]["sha256"] = file_digest(path / "tiny.bin")
    (path / bundle.MANIFEST).write_text(json.dumps(data))


def break_manifest(path: Path) -> None:
    (path / bundle.MANIFEST).write_text('{"schema": 1')


def empty_manifest(path: Path) -> None:
    (path / bundle.MANIFEST).write_text("{}")


def binary_manifest(path: Path) -> None:
    (path / bundle.MANIFEST).write_bytes(b"\xff\x00")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "tiny.bin was changed"),
        (remove, "tiny.bin is missing"),
        (add, "more.txt is not in the manifest"),
        (edit_manifest, "manifest.json was edited"),
        (edit_checksum, "manifest.json was edited"),
        (break_manifest, "cannot be read"),
        (empty_manifest, "cannot be read"),
        (binary_manifest, "cannot be read"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damage_is_seen(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    make(tmp_path / "out")
    damage(tmp_path / "out")
    with pytest.raises(BadBundle, match=message):
        bundle.read(tmp_path / "out")


def test_no_bundle_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match="no bundle here"):
        bundle.read(tmp_path)


def test_a_new_bundle_takes_the_place_of_the_old(tmp_path: Path) -> None:
    make(tmp_path / "out", b"old")
    make(tmp_path / "out", b"new")
    assert (tmp_path / "out" / "tiny.bin").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["out"]


def test_a_failure_leaves_the_old_bundle(tmp_path: Path) -> None:
    make(tmp_path / "out", b"old")
    with pytest.raises(RuntimeError), bundle.staging(tmp_path / "out") as stage:
        (stage / "tiny.bin").write_bytes(b"half")
        raise RuntimeError
    assert bundle.read(tmp_path / "out").artifact_bytes == 3
    assert os.listdir(tmp_path) == ["out"]


KILLED = """
import os, signal, sys
from pathlib import Path
from toolchain.bundle import bundle
with bundle.staging(Path(sys.argv[1])) as stage:
    (stage / "tiny.bin").write_bytes(b"half")
    if sys.argv[2] == "publishing":
        Path(sys.argv[1]).rename(stage.with_suffix(".old"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["writing", "publishing"])
def test_a_kill_loses_nothing_and_the_next_build_sweeps(tmp_path: Path, moment: str) -> None:
    make(tmp_path / "out", b"old")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "out"), moment]
    assert subprocess.run(command).returncode == -9
    assert len([name for name in os.listdir(tmp_path) if not name.endswith(".lock")]) == 2
    with bundle.staging(tmp_path / "out"):
        assert bundle.read(tmp_path / "out").artifact_bytes == 3
    assert os.listdir(tmp_path) == ["out"]


def test_another_builds_stage_is_not_swept(tmp_path: Path) -> None:
    with bundle.staging(tmp_path / "out") as first, bundle.staging(tmp_path / "out") as second:
        assert first.is_dir()
        assert second.is_dir()


def test_there_is_always_a_bundle_while_another_takes_its_place(tmp_path: Path) -> None:
    """A thread looks all the time: old or new, never none and never half of one."""
    out = tmp_path / "out"
    make(out, b"0")
    ended, seen = threading.Event(), set[bytes]()

    def look() -> None:
        while not ended.is_set():
            seen.add((out / "tiny.bin").read_bytes())

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        for number in range(40):
            make(out, b"%d" % number)
        ended.set()
        looking.result()
    assert len(seen) > 1
    assert os.listdir(tmp_path) == ["out"]


def test_many_that_publish_at_once_are_not_in_each_other_s_way(tmp_path: Path) -> None:
    """One looks whether the folder is ours, or reads it, while another puts its bundle there."""
    out = tmp_path / "out"
    weights = [str(number).encode() * 200_000 for number in range(1, 5)]

    def publish(content: bytes) -> None:
        for _ in range(15):
            make(out, content)
            bundle.read(out)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(publish, content) for content in weights]:
            done.result()
    assert bundle.read(out).artifact_bytes == 200_000


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_kill_at_any_line_leaves_the_old_or_the_new(tmp_path: Path, can_exchange: bool) -> None:
    """In children of this process, killed at each line of what moves folders."""
    out = tmp_path / "out"
    make(out, b"old")
    ended = False
    for steps in range(200):
        child = os.fork()
        if not child:
            _killed_after(steps, out, can_exchange)
        _, status = os.waitpid(child, 0)
        if can_exchange:
            assert bundle.read(out).artifact_bytes == 3
        else:
            with bundle.staging(out):
                assert bundle.read(out).artifact_bytes == 3
        if ended := status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
    assert ended
    assert steps >= 3
    assert (out / "tiny.bin").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["out"]


def _killed_after(steps: int, out: Path, can_exchange: bool) -> None:
    def traced(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal steps
        if Path(frame.f_code.co_filename).name == "folders.py":
            steps -= event == "line"
            if steps < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return traced

    if not can_exchange:
        folders.exchange = lambda one, other: False  # type: ignore[assignment]
    try:
        with bundle.staging(out) as stage:
            (stage / "tiny.bin").write_bytes(b"new")
            bundle.seal(stage, contents())
            sys.settrace(traced)
            bundle.publish(stage, out)
            sys.settrace(None)
    finally:
        sys.settrace(None)
        os._exit(0 if sys.exc_info()[0] is None else 1)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_modes_follow_umask_whoever_wrote_a_file(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with bundle.staging(tmp_path / "out") as stage:
            (stage / "tiny.bin").write_bytes(b"weights")
            (stage / "tiny.bin").chmod(0o600)
            (stage / "golden").mkdir(mode=0o700)
            bundle.seal(stage, contents())
            bundle.publish(stage, tmp_path / "out")
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "out").rglob("*")}
    assert modes.pop("golden") == 0o777 & ~umask
    assert set(modes.values()) == {0o666 & ~umask}


@pytest.mark.parametrize("name", ["notes.txt", "golden/mine.txt", ".hidden"])
def test_files_of_the_user_in_a_bundle_are_named_and_left(tmp_path: Path, name: str) -> None:
    make(tmp_path / "out", b"old")
    mine = tmp_path / "out" / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(CannotWrite, match=f"a file that is not its own is in the way: {name}"):
        make(tmp_path / "out")
    assert mine.read_text() == "mine"
    assert (tmp_path / "out" / "tiny.bin").read_bytes() == b"old"


def test_files_that_come_while_it_is_built_are_left_too(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out, b"old")
    with pytest.raises(CannotWrite, match=r"mine\.txt"), bundle.staging(out) as stage:
        (stage / "tiny.bin").write_bytes(b"new")
        bundle.seal(stage, contents())
        (out / "mine.txt").write_text("mine")
        bundle.publish(stage, out)
    assert (out / "mine.txt").read_text() == "mine"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("text", ["{}", '{"schema": 5, "files": {}}', "mine", "[" * 100000])
def test_a_folder_with_another_manifest_is_left_alone(tmp_path: Path, text: str) -> None:
    """manifest.json is the name of a web app's, of an extension's, too."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / bundle.MANIFEST).write_text(text)
    (tmp_path / "out" / "index.html").write_text("mine")
    with pytest.raises(CannotWrite, match="may be no bundle of ours"):
        make(tmp_path / "out")
    assert (tmp_path / "out" / "index.html").read_text() == "mine"


def test_a_link_to_a_bundle_is_no_bundle(tmp_path: Path) -> None:
    make(tmp_path / "real", b"old")
    (tmp_path / "out").symlink_to(tmp_path / "real")
    with pytest.raises(CannotWrite, match="in the way"):
        make(tmp_path / "out")
    assert (tmp_path / "real" / "tiny.bin").read_bytes() == b"old"


@pytest.mark.parametrize("content", [b"my edit", b"my longer edit", b""])
def test_a_file_of_the_bundle_that_was_edited_is_named_and_left(
    tmp_path: Path, content: bytes
) -> None:
    """Half a file, too: nobody can tell it from one with less in it."""
    make(tmp_path / "out", b"old")
    edited = tmp_path / "out" / "tiny.bin"
    edited.write_bytes(content)
    with pytest.raises(
        CannotWrite, match=r"changed after the build is in the way: tiny\.bin"
    ) as said:
        make(tmp_path / "out")
    assert "remove the bundle" in said.value.do
    assert edited.read_bytes() == content
    shutil.rmtree(tmp_path / "out")
    assert make(tmp_path / "out").artifact_bytes == 7


def test_a_link_in_the_place_of_a_file_is_left_and_not_opened(tmp_path: Path) -> None:
    make(tmp_path / "out", b"old")
    remove(tmp_path / "out")
    (tmp_path / "out" / "tiny.bin").symlink_to("/dev/zero")
    with pytest.raises(CannotWrite, match=r"changed after the build"):
        make(tmp_path / "out")
    assert (tmp_path / "out" / "tiny.bin").is_symlink()


def test_edits_that_come_while_it_is_built_are_left_too(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out, b"old")
    with pytest.raises(CannotWrite, match=r"tiny\.bin"), bundle.staging(out) as stage:
        (stage / "tiny.bin").write_bytes(b"new")
        bundle.seal(stage, contents())
        (out / "tiny.bin").write_text("mine")
        bundle.publish(stage, out)
    assert (out / "tiny.bin").read_text() == "mine"


def test_a_bundle_that_lost_a_file_is_built_anew(tmp_path: Path) -> None:
    make(tmp_path / "out", b"old")
    remove(tmp_path / "out")
    assert make(tmp_path / "out").artifact_bytes == 7


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_something_in_the_way_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    if kind == "folder":
        path.mkdir()
        path = path / "thesis.txt"
    path.write_text("mine")
    with pytest.raises(CannotWrite, match="in the way"):
        make(tmp_path / "out")
    assert path.read_text() == "mine"


def test_an_empty_folder_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert make(tmp_path / "out").name == "tiny"


def test_a_parent_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "dist").write_text("a file")
    with pytest.raises(CannotWrite) as caught:
        make(tmp_path / "dist" / "out")
    assert "--out" in caught.value.do


def test_a_folder_that_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *args: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CannotWrite, match="Permission denied"):
        make(tmp_path / "out")


def test_a_full_disk_leaves_the_old_bundle(tmp_path: Path) -> None:
    make(tmp_path / "out", b"old")
    with pytest.raises(CannotWrite, match="No space left"), bundle.staging(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert bundle.read(tmp_path / "out").artifact_bytes == 3
    assert os.listdir(tmp_path) == ["out"]
