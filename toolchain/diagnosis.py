"""`mlship doctor`: what is installed, which backends run here, and what to do about the rest."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from toolchain import cache

NODE = 20
NODE_FOLDER = Path(__file__).resolve().parent.parent / "converters" / "tfjs" / "node"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for; `needed` by every build, or only by one backend."""

    what: str
    ok: bool
    found: str
    do: str = ""
    needed: bool = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> list[Finding]:
    """Every package, program and backend, in the order of use. Imports none of them."""
    return [_python(), *_packages(), _node(), _node_packages(), _coreml(), _browser(), _cache()]


def _python() -> Finding:
    version = platform.python_version()
    ok = sys.version_info[:2] == (3, 11)
    return Finding("Python", ok, version, "" if ok else "use Python 3.11: the converters pin it")


def _packages() -> list[Finding]:
    """Each pinned dependency of this project, by its installed version."""
    wanted = dict(
        requirement.split(";")[0].split("==")
        for requirement in metadata.requires("mlship") or []
        if "==" in requirement and "extra" not in requirement
    )
    return [_package(name.strip(), version.strip()) for name, version in wanted.items()]


def _package(name: str, version: str) -> Finding:
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, False, "not installed", f"pip install {name}=={version}")
    same = found.split("+")[0] == version
    do = "" if same else f"tried with {version}: pip install {name}=={version}"
    return Finding(name, same, found, do)


def _node() -> Finding:
    what, path = "Node (tfjs-wasm: target web)", shutil.which("node")
    if path is None:
        return Finding(what, False, "not found", f"install Node {NODE} or newer", needed=False)
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    text = version.stdout.strip().removeprefix("v")
    ok = text.split(".")[0].isdigit() and int(text.split(".")[0]) >= NODE
    return Finding(what, ok, text, "" if ok else f"install Node {NODE} or newer", needed=False)


def _node_packages() -> Finding:
    ok = (NODE_FOLDER / "node_modules").is_dir()
    found = "installed" if ok else "not installed"
    do = "" if ok else f"npm ci --prefix {NODE_FOLDER}"
    return Finding("TensorFlow.js packages (tfjs-wasm)", ok, found, do, needed=False)


def _coreml() -> Finding:
    if platform.system() == "Darwin":
        return Finding("Core ML (target ios)", True, "Core ML itself", needed=False)
    do = "run mlship on a Mac to compare with Core ML itself"
    return Finding("Core ML (target ios)", True, "our interpreter of the package", do, needed=False)


def _browser() -> Finding:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    do = "" if path else "needed by the tests only: apt-get install chromium"
    return Finding("Chromium", path is not None, path or "not found", do, needed=False)


def _cache() -> Finding:
    home = cache.home()
    objects = home / "objects"
    count = len(list(objects.iterdir())) if objects.is_dir() else 0
    found = f"{home}, {count} bundles"
    return Finding("cache", True, found, "may be deleted at any time", needed=False)


def show(findings: list[Finding]) -> None:
    """The findings as a table."""
    from toolchain import terminal

    made = terminal.table("", "", "what", "found", "do")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else ("[red]no[/]" if finding.needed else "-")
        made.add_row(mark, finding.what, finding.found, finding.do)
    terminal.show(made)
