"""What doctor finds, and what it says of what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from converters.backends import BACKENDS
from converters.browser import host
from toolchain.cli.main import main
from toolchain.debug import doctor


def examined(code: int = 0) -> dict[str, dict[str, Any]]:
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == code, result.output
    return {finding["what"]: finding for finding in json.loads(result.stdout)}


def test_this_machine_is_ready() -> None:
    found = examined()
    missing = [what for what, finding in found.items() if not finding["ok"]]
    assert set(missing) <= {f"backend {name}" for name, b in BACKENDS.items() if b.system}
    assert {f"backend {name}" for name in BACKENDS} <= set(found)


def test_text_names_what_was_found() -> None:
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0
    assert "Python" in result.output
    assert "backend litert" in result.output


def test_without_node_only_its_backends_are_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = examined()
    assert found["Node (target web)"]["found"] == "not found"
    assert "install Node" in found["backend tfjs-wasm"]["do"]
    assert found["backend mil"]["ok"]
    assert found["backend litert"]["ok"]


def test_without_chromium_the_browser_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "no-such-program")
    finding = examined()["backend tfjs-webgl"]
    assert not finding["ok"]
    assert "no-such-program" in finding["found"]


def test_without_packages_npm_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host, "NODE", tmp_path)
    assert examined()["backend litertjs"]["do"] == f"npm ci --prefix {tmp_path}"


def test_another_version_is_named_with_the_tried_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "0.1")
    finding = examined(code=1)["torch"]
    assert not finding["ok"]
    assert "pip install torch==" in finding["do"]
