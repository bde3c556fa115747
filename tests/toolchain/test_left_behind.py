"""What a run leaves in TMPDIR: nothing of its own, its converters' or its browser's."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from converters.processes import scratch
from converters.tfjs.runner import NODE
from model_defs.installation import FOLDER

STARTS = """
from pathlib import Path
from converters.browser.host import Browser
from model_defs.errors import BadArtifact
browser = Browser()
try:
    browser.ask({"do": "open", "backend": "tfjs-wasm-chromium", "path": "/x", "entry": ""}, {}, 60)
except BadArtifact as error:  # and not that the browser does not start
    assert "missing" in error.what, error.what
browser.close()
"""


PARENT = """
import subprocess
child = subprocess.Popen({command!r}, stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid)
"""
CHILDREN = {
    "python": """
from converters.processes import children
children.end_with_parent()
print("here", flush=True)
while True: pass
""",
    "node": """
import {{ endWithParent }} from '{folder}/parent.mjs';
endWithParent();
setTimeout(() => {{ console.log('here'); for (;;); }}, 200);
""",
}
INTERPRETERS = {
    "python": [sys.executable, "-c"],
    "node": ["node", "--input-type=module", "--eval"],
}


class Runs:
    """mlship in a TMPDIR of its own, which is short: Chromium puts a socket there."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self._root = folder, root
        self._environment = {
            **os.environ,
            "TMPDIR": str(folder),
            "PYTHONPATH": str(FOLDER),
            "MLSHIP_CACHE": str(root / "cache"),
        }

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "toolchain.cli.main", *words]
        with (self._root / "said").open("w") as said:
            return subprocess.Popen(
                command, cwd=self._root, env=self._environment, stdout=said, stderr=said
            )

    def mlship(self, *words: str) -> None:
        assert self.start(*words).wait() == 0, (self._root / "said").read_text()

    def processes(self) -> list[int]:
        """All that run with this TMPDIR, or one in it."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"TMPDIR={self.folder}".encode() in path.read_bytes():
                    found.append(int(path.parent.name))
        return found

    def started(self, count: int) -> None:
        """Waits until as many processes run."""
        deadline = time.monotonic() + 60
        while len(self.processes()) < count:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    yield Runs(folder, tmp_path)
    shutil.rmtree(folder)


def test_a_build_and_its_browser_leave_nothing(write_tiny: Callable[..., str], runs: Runs) -> None:
    runs.mlship("build", write_tiny(), "--target", "all")
    assert os.listdir(runs.folder) == []
    runs.mlship("parity", "dist/tiny-web", "--backend", "tfjs-wasm-chromium")
    assert os.listdir(runs.folder) == []


def test_a_build_that_is_asked_to_end_leaves_nothing(
    write_tiny: Callable[..., str], tmp_path: Path, runs: Runs
) -> None:
    building = runs.start("build", write_tiny(), "--target", "all")
    runs.started(4)  # with its three converters
    building.terminate()
    assert building.wait(20) == 128 + signal.SIGTERM
    assert os.listdir(runs.folder) == []
    assert not runs.processes()
    assert not (tmp_path / "dist").exists() or os.listdir(tmp_path / "dist") == []


def test_what_a_killed_build_started_ends_and_the_next_run_sweeps(
    write_tiny: Callable[..., str], runs: Runs
) -> None:
    building = runs.start("build", write_tiny(), "--target", "all")
    runs.started(4)
    building.kill()
    building.wait()
    deadline = time.monotonic() + 5
    while left := runs.processes():
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert len(os.listdir(runs.folder)) == 1
    runs.mlship("build", write_tiny(), "--target", "android")
    assert os.listdir(runs.folder) == []


def test_what_runs_is_not_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    other = tmp_path / "mlship-12345678"
    other.mkdir()
    with (other / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (tmp_path / "mlship-abcdefgh").mkdir()  # of a process that is about to lock it
        (tmp_path / "mlship-not-ours").mkdir()
        scratch._sweep(tmp_path)
        kept = {"mlship-12345678", "mlship-abcdefgh", "mlship-not-ours"}
        assert set(os.listdir(tmp_path)) == kept
    scratch._sweep(tmp_path)
    assert set(os.listdir(tmp_path)) == {"mlship-abcdefgh", "mlship-not-ours"}


@pytest.mark.parametrize("command", ["python", "node"])
def test_a_child_that_computes_ends_with_its_parent(command: str, tmp_path: Path) -> None:
    """Also one that never looks at its input again."""
    child = CHILDREN[command].format(folder=NODE)
    code = PARENT.format(command=[*INTERPRETERS[command], child])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, cwd=FOLDER
    )
    child_id = int(done.stdout)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child_id}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_chromium_starts_wherever_temporary_files_go(tmp_path: Path) -> None:
    """Its socket's name must be short, and that of macOS' folder for them is long already."""
    long = tmp_path / ("long" * 20)
    long.mkdir()
    command = [sys.executable, "-c", STARTS]
    environment = {**os.environ, "TMPDIR": str(long), "PYTHONPATH": str(FOLDER)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert os.listdir(long) == []
