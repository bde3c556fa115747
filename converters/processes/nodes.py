"""Node.js: the program, and the packages in the folder of what it runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from model_defs.errors import BackendUnavailable

VERSION = 20
"""The oldest major version that the packages are tried with."""


def program(folder: Path, package: str) -> str:
    """The path of Node; BackendUnavailable without it, or without that package in the folder."""
    found = shutil.which("node")
    if found is None:
        raise BackendUnavailable("Node is not installed", do=f"install Node {VERSION} or later")
    if not (folder / "node_modules" / package).is_dir():
        raise BackendUnavailable(
            f"the package {package} is not installed", do=f"npm ci --prefix {folder}"
        )
    return found


def version() -> str | None:
    """What Node says of itself, such as 20.20.2; None without Node."""
    found = shutil.which("node")
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return said.stdout.strip().removeprefix("v")
