"""mlship.lock: a rebuild gives the same bytes, and what does not is named."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from own_models import tiny

from model_defs.errors import BadRecord
from model_defs.spec import Preprocess, TensorSpec
from tests.toolchain.projects import copied, made, mlship
from toolchain.ci import lock

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


def as_schema_1(folder: Path) -> None:
    """The project's lock as mlship wrote it under schema 1, whose specs had ints as written."""

    def old(data: dict[str, Any]) -> None:
        data["schema"] = 1
        for name, one in data["bundles"].items():
            found = json.loads((folder / "dist" / name / "manifest.json").read_text())
            for tensor in (*found["inputs"], *found["outputs"]):
                tensor.update(low=0, high=1)
            tensors = json.dumps([found["inputs"], found["outputs"]], sort_keys=True)
            assert '"low": 0,' in tensors
            digest = hashlib.sha256(tensors.encode()).hexdigest()
            assert digest != one["spec"]
            one.update(spec=digest, weights="untrained, seed 0")

    change(folder, old)


@pytest.mark.parametrize("command", [None, "upgrade"])
def test_the_spec_of_an_old_lock_is_not_compared(project: Path, command: str | None) -> None:
    as_schema_1(project)
    if command:
        assert mlship(command, project).exit_code == 0
        assert json.loads((project / "mlship.lock").read_text())["schema"] == 2
    assert {one.spec for one in lock.read(project / "mlship.lock").bundles.values()} == {None}
    result = mlship("verify", "--project", project)
    assert result.exit_code == 0, result.output
    for name in ("tiny-android", "tiny-web"):
        said = f"{name}: spec is not compared: an older mlship locked it in another form"
        assert f"{said}; run `mlship lock`" in result.stderr
    assert "as locked, 2 not compared" in result.stdout
    found = json.loads(mlship("verify", "--project", project, "--json").stdout)
    assert [f["what"] for f in found if f["verdict"] != "passed"] == ["spec", "spec"]
    change(project, lambda data: data["bundles"]["tiny-web"].update(recipe=["fp32"]))
    result = mlship("verify", "--project", project)
    assert result.exit_code == 1
    assert "tiny-web: recipe is not as locked" in result.stderr


def test_a_lock_of_today_has_a_spec(project: Path) -> None:
    change(project, lambda data: data["bundles"]["tiny-web"].pop("spec"))
    with pytest.raises(BadRecord, match="spec is missing"):
        lock.read(project / "mlship.lock")


def test_a_spec_has_one_digest_however_its_numbers_are_written() -> None:
    whole = Preprocess(mean=(0, 0, 0), std=(255, 255, 255))
    shape = (1, 3, 4, 4)
    sides = (
        TensorSpec("a", shape, "image", low=0, high=1, preprocess=whole),
        TensorSpec("a", shape, "image", low=0.0, high=1.0, preprocess=Preprocess()),
    )
    assert len({json.dumps(side.to_json()) for side in sides}) == 2
    assert len({lock.spec_digest([side], [side]) for side in sides}) == 1
    other = replace(sides[0], high=2)
    assert lock.spec_digest([other], []) != lock.spec_digest([sides[0]], [])
