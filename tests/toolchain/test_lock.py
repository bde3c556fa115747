"""mlship.lock: a rebuild gives the same bytes, and what does not is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from own_models import tiny

from tests.toolchain.projects import copied, made, mlship

CONFIG = '[project]\ntargets = ["android", "web"]\n[models.tiny]\nspec = "net.py:spec"\n'


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("locked"), tiny(), CONFIG, "lock")


@pytest.fixture
def project(locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(locked, tmp_path, monkeypatch)


OTHER = {"kind": "file", "file": "w.pt", "sha256": "0" * 64}


def change(folder: Path, edit: Any) -> None:
    path = folder / "mlship.lock"
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def test_a_rebuild_gives_the_same_bytes(project: Path) -> None:
    shutil.rmtree(project / "dist")
    result = mlship("verify", "--project", project, "--rebuild", "--json")
    assert result.exit_code == 0, result.output
    findings = json.loads(result.stdout)
    files = [f["what"] for f in findings if f["bundle"]]
    assert {"tiny.tflite", "tiny.tfjs/model.json", "spec", "weights", "recipe"} <= set(files)
    assert all(f["verdict"] == "passed" for f in findings)


def test_what_is_there_is_as_locked(project: Path) -> None:
    assert mlship("verify", "--project", project).exit_code == 0
    assert "2 bundles" in mlship("lock", "--project", project).stdout


def test_a_missing_bundle_is_named(project: Path) -> None:
    shutil.rmtree(project / "dist" / "tiny-web")
    result = mlship("verify", "--project", project)
    assert result.exit_code == 1
    assert "tiny-web: bundle is not as locked: there is no bundle here" in result.stderr


def test_a_changed_model_is_named_when_it_is_rebuilt(project: Path) -> None:
    (project / "net.py").write_text(tiny("x * 1.25"))
    result = mlship("verify", "--project", project, "--rebuild")
    assert result.exit_code == 1
    assert "tiny-android: tiny.tflite is not as locked" in result.stderr


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda d: d["tools"].update(torch="1.0"), "version of torch is not as locked"),
        (lambda d: d["bundles"]["tiny-web"].update(weights=OTHER), "tiny-web: weights is not"),
        (lambda d: d["bundles"]["tiny-web"].update(spec="0" * 64), "tiny-web: spec is not"),
        (lambda d: d["bundles"]["tiny-web"].update(recipe=["fp32"]), "tiny-web: recipe is not"),
        (lambda d: d["bundles"]["tiny-web"]["files"].popitem(), "not none"),
        (
            lambda d: d["bundles"].pop("tiny-web"),
            "tiny-web: bundle is not as locked: built, not absent",
        ),
        (lambda d: d["bundles"].update(old=d["bundles"]["tiny-web"]), "old: bundle is not"),
    ],
)
def test_what_differs_is_named(project: Path, edit: Any, said: str) -> None:
    change(project, edit)
    result = mlship("verify", "--project", project)
    assert result.exit_code == 1
    assert said in result.stderr


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}'])
def test_a_damaged_lock_is_refused(project: Path, text: str) -> None:
    (project / "mlship.lock").write_text(text)
    result = mlship("verify", "--project", project)
    assert result.exit_code == 2
    assert "error:" in result.stderr


def test_a_model_that_is_wrong_is_not_locked(project: Path) -> None:
    (project / "net.py").write_text("import nothing_of_that_name")
    before = (project / "mlship.lock").read_text()
    assert mlship("lock", "--project", project).exit_code == 2
    assert (project / "mlship.lock").read_text() == before
