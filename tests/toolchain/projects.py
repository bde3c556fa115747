"""Projects with their caches beside them, made once and copied for each test."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from toolchain.cli.main import main


def mlship(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def ci(folder: Path, *arguments: object) -> Result:
    return mlship("ci", "--project", folder, *arguments)


def made(root: Path, net: str, config: str, *command: object) -> Path:
    """`root` with a project, on which a command has run, and the cache of its builds."""
    folder = root / "project"
    folder.mkdir()
    (folder / "net.py").write_text(net)
    (folder / "mlship.toml").write_text(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSHIP_CACHE", str(root / "cache"))
        result = mlship(*command, "--project", folder)
    assert result.exit_code == 0, result.output
    return root


def copied(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project of a copy of what was `made`, with a copy of its cache in use."""
    shutil.copytree(root, tmp_path / "own")
    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path / "own" / "cache"))
    return tmp_path / "own" / "project"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def report(folder: Path) -> Any:
    return json.loads((folder / "mlship-report" / "report.json").read_text())


def bad(folder: Path) -> dict[str, Any]:
    """The checks that did not pass, by name."""
    rows = report(folder)["checks"]
    return {r["name"]: r for r in rows if r["verdict"] in ("failed", "warned")}
