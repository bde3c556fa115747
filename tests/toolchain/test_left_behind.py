"""What a run leaves in TMPDIR: nothing of its own, its converters' or its browser's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

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


def test_a_build_and_its_browser_leave_nothing(
    write_tiny: Callable[..., str], tmp_path: Path
) -> None:
    temporary = Path(tempfile.mkdtemp(dir="/tmp"))  # short: Chromium puts a socket there
    environment = {
        **os.environ,
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(FOLDER),
        "MLSHIP_CACHE": str(tmp_path / "cache"),
    }

    def mlship(*words: str) -> None:
        command = [sys.executable, "-m", "toolchain.cli.main", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    mlship("build", write_tiny(), "--target", "all")
    assert os.listdir(temporary) == []
    mlship("parity", "dist/tiny-web", "--backend", "tfjs-wasm-chromium")
    assert os.listdir(temporary) == []
    temporary.rmdir()


def test_chromium_starts_wherever_temporary_files_go(tmp_path: Path) -> None:
    """Its socket's name must be short, and that of macOS' folder for them is long already."""
    long = tmp_path / ("long" * 20)
    long.mkdir()
    command = [sys.executable, "-c", STARTS]
    environment = {**os.environ, "TMPDIR": str(long), "PYTHONPATH": str(FOLDER)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert os.listdir(long) == []
