"""mlship.lock: a rebuild gives the same bytes, and what does not is named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from own_models import tiny

from model_defs.errors import BadRecord
from tests.toolchain.manifests import resealed
from tests.toolchain.projects import copied, made, mlship, report
from toolchain.ci import config, lock
from toolchain.ci import locked as locks

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
    assert {"tiny.tflite", "tiny.tfjs/model.json", "mlship.mjs", "weights", "recipe"} <= set(files)
    assert {"golden/photo.safetensors", "parity", "passes", "what it says: inputs"} <= set(files)
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
        (
            lambda d: d["bundles"]["tiny-web"]["says"].update(outputs="0" * 64),
            "tiny-web: what it says: outputs is not",
        ),
        (
            lambda d: d["bundles"]["tiny-web"]["measured"].update(parity="0" * 64),
            "tiny-web: parity is not",
        ),
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


def as_schema_1(folder: Path) -> None:
    """The project's lock as mlship wrote it under schema 1."""

    def old(data: dict[str, Any]) -> None:
        data["schema"] = 1
        del data["machine"]
        for one in data["bundles"].values():
            artifact = {k: v for k, v in one["files"].items() if k.startswith("tiny.")}
            del one["says"], one["measured"]
            one.update(spec="0" * 64, weights="untrained, seed 0", files=artifact)

    change(folder, old)


@pytest.mark.parametrize("command", [None, "upgrade"])
def test_of_an_old_lock_the_artifact_is_compared(project: Path, command: str | None) -> None:
    as_schema_1(project)
    if command:
        assert mlship(command, project).exit_code == 0
        assert json.loads((project / "mlship.lock").read_text())["schema"] == 3
    result = mlship("verify", "--project", project)
    assert result.exit_code == 0, result.output
    for name in ("tiny-android", "tiny-web"):
        said = f"{name}: what the manifest says is not compared: an older mlship did not lock it"
        assert f"{said}; run `mlship lock`" in result.stderr
    assert "as locked, 2 not compared" in result.stdout
    change(project, lambda data: data["bundles"]["tiny-web"].update(recipe=["fp32"]))
    result = mlship("verify", "--project", project)
    assert result.exit_code == 1
    assert "tiny-web: recipe is not as locked" in result.stderr


def test_a_lock_of_today_says_it_all(project: Path) -> None:
    change(project, lambda data: data["bundles"]["tiny-web"].pop("says"))
    with pytest.raises(BadRecord, match="says is missing"):
        lock.read(project / "mlship.lock")


def test_what_is_measured_differs_between_machines_and_it_is_said(project: Path) -> None:
    def elsewhere(data: dict[str, Any]) -> None:
        data["machine"] = "another"
        data["bundles"]["tiny-web"]["measured"].update(parity="0" * 64)

    change(project, elsewhere)
    result = mlship("verify", "--project", project)
    assert result.exit_code == 0, result.output
    assert "tiny-web: parity is not compared: it was measured on another machine" in result.stderr
    change(project, lambda data: data["bundles"]["tiny-web"]["measured"].popitem())
    assert mlship("verify", "--project", project).exit_code == 1, "not one that is gone"


def test_ci_holds_what_it_built_against_the_lock(project: Path) -> None:
    change(project, lambda d: d["bundles"]["tiny-web"]["says"].update(outputs="0" * 64))
    result = mlship("ci", "--project", project)
    assert result.exit_code == 1
    made = [c for c in report(project)["checks"] if c["kind"] == "lock"]
    assert {c["bundle"]: c["verdict"] for c in made} == {
        "tiny-android": "passed",
        "tiny-web": "failed",
    }
    said = "tiny-web: lock: not as mlship.lock has it: what it says: outputs"
    assert f"{said}; if that was meant: mlship lock" in result.stderr


def test_without_a_lock_nothing_is_said_of_it(project: Path) -> None:
    (project / "mlship.lock").unlink()
    assert [*locks.checks(config.read(project), {})] == []


def poison(project: Path) -> Path:
    """Every object of the cache says that its map is of another range, and is sealed again."""
    objects = project.parent / "cache" / "objects"
    for manifest in objects.glob("*/manifest.json"):
        resealed(manifest.parent, lambda data: data["outputs"][0].update(high=9.0))
    return project / "dist" / "tiny-web" / "manifest.json"


def test_a_poisoned_cache_does_not_reach_what_ships(project: Path) -> None:
    shipped = poison(project)
    before = shipped.read_text()
    shutil.rmtree(project / "dist")
    command = ("build", f"{project}/net.py:spec", "--target", "web", "--out", project / "dist")
    result = mlship(*command)
    assert result.exit_code == 0, result.output
    assert shipped.read_text() == before
    assert "built and proved again: what the cache has of it is not used" in result.stderr


def test_fresh_takes_nothing_from_the_cache(project: Path) -> None:
    command = ("build", f"{project}/net.py:spec", "--target", "web", "--out", project / "dist")
    assert json.loads(mlship(*command, "--json").stdout)[0]["cached"]
    again = json.loads(mlship(*command, "--json", "--fresh").stdout)[0]
    assert again["ok"]
    assert not again["cached"]
    assert json.loads(mlship(*command, "--json").stdout)[0]["cached"]


def test_a_lock_that_was_emptied_is_not_an_old_one(project: Path) -> None:
    change(project, lambda data: data["bundles"]["tiny-web"].update(says={}))
    result = mlship("verify", "--project", project)
    assert result.exit_code == 1
    assert "tiny-web: what it says: inputs is not as locked" in result.stderr


def test_the_tools_that_a_manifest_names_are_locked(project: Path) -> None:
    resealed(project / "dist" / "tiny-web", lambda data: data["tools"].update(torch="9.9"))
    result = mlship("verify", "--project", project)
    assert result.exit_code == 1
    assert "tiny-web: what it says: tools is not as locked" in result.stderr


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_lock_that_never_ends_is_not_read(project: Path, put: Callable[[Path], None]) -> None:
    (project / "mlship.lock").unlink()
    put(project / "mlship.lock")
    result = mlship("verify", "--project", project)
    assert result.exit_code == 2
    assert "not a file" in result.stderr
