"""`mlship upgrade`: files of schema 1 become today's, all or none; what they say stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from model_defs.errors import BadBundle, BadConfig, BadRecord, CannotWrite
from tests.toolchain.manifests import contents, with_digest
from tests.toolchain.projects import mlship
from toolchain.bundle import bundle, manifest
from toolchain.bundle.files import file_digest
from toolchain.ci import config, lock, state, upgrade

SHA = "a" * 64
SAID = f"tiny.pt, sha256 {SHA}"
TOML = """# my project
[models.depth]  # of the zoo
[budgets]
wire = "9 MB"
"""
LOCK = {
    "schema": 1,
    "tools": {"torch": "2.13.0"},
    "bundles": {
        "depth-ios": {
            **{"spec": SHA, "weights": SAID, "recipe": ["fp16", "fold-batchnorm"]},
            "files": {"depth.mlpackage/Manifest.json": SHA},
        }
    },
}
BASELINE = {
    "schema": 1,
    "fingerprint": "f",
    "machine": "m",
    "bundles": [
        {
            **{"bundle": "depth-ios", "model": "depth", "target": "ios", "recipe": "fp16"},
            **{"weights": "untrained, seed 0", "artifact": SHA, "figures": {"disk": 8902786}},
            **{"layer_bytes": {"conv": 10}, "layer_ms": {}, "runtime": "", "blocks": [1.5]},
            "peak": 3.25,
        }
    ],
}


def manifest_4() -> dict[str, Any]:
    """A manifest as mlship wrote it under schema 4: it asked one question."""
    data = contents().model_dump(mode="json")
    del data["golden_rounded"], data["parity"]["questions"], data["parity"]["constants"]
    for row in (*data["parity"]["rows"], *data["inputs"], *data["outputs"]):
        del row["question" if "backend" in row else "limit"]
    return {**data, "schema": 4}


def manifest_1() -> dict[str, Any]:
    """A manifest as mlship wrote it under schema 1."""
    data = manifest_4()
    data["schema"] = 1
    data["model"]["weights"] = SAID
    data["recipe"]["ledger"] = data["recipe"].pop("pass_report")
    return data


def old_bundle(folder: Path) -> Path:
    folder.mkdir()
    (folder / "tiny.bin").write_bytes(b"weights")
    files = {"tiny.bin": {"sha256": file_digest(folder / "tiny.bin"), "bytes": 7}}
    text = json.dumps(with_digest({**manifest_1(), "files": files}))
    (folder / "manifest.json").write_text(text)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "mlship.toml").write_text(TOML)
    (tmp_path / "mlship.lock").write_text(json.dumps(LOCK))
    (tmp_path / "mlship.baseline.json").write_text(json.dumps(BASELINE))
    return tmp_path


def test_an_old_bundle_is_read_as_todays(tmp_path: Path) -> None:
    found = bundle.read(old_bundle(tmp_path / "tiny-ios"))
    assert (found.manifest.version, found.manifest.compute) == (5, "all")
    weights = found.manifest.model.weights
    assert (weights.kind, weights.file, weights.sha256) == ("file", "tiny.pt", SHA)
    assert found.manifest.recipe.pass_report[0].after == "as trained"
    assert (
        found.manifest.digest
        == json.loads((tmp_path / "tiny-ios" / "manifest.json").read_text())["digest"]
    )


def test_tensors_of_schema_2_are_float32() -> None:
    files = {"tiny.bin": {"sha256": SHA, "bytes": 7}}
    data = {**manifest_4(), "schema": 2, "files": files}
    for tensor in (*data["inputs"], *data["outputs"]):
        del tensor["dtype"]
    del data["state"]
    found = manifest.parse(json.dumps(with_digest(data)), "manifest.json")
    assert [t.dtype for t in (*found.inputs, *found.outputs)] == ["float32", "float32"]


def test_models_of_schema_3_have_one_size_and_no_state() -> None:
    files = {"tiny.bin": {"sha256": SHA, "bytes": 7}}
    data = {**manifest_4(), "schema": 3, "files": files}
    for tensor in (*data["inputs"], *data["outputs"]):
        del tensor["sizes"]
    del data["golden_at"], data["artifact"]["entries"], data["artifact"]["entry"], data["state"]
    found = manifest.parse(json.dumps(with_digest(data)), "manifest.json")
    assert (found.inputs[0].sizes, found.artifact.entries, found.golden_at) == ((), (), {})
    assert found.state == {}


def test_bundles_of_schema_4_were_judged_accurate_alone() -> None:
    files = {"tiny.bin": {"sha256": SHA, "bytes": 7}}
    data = {**manifest_4(), "files": files}
    found = manifest.parse(json.dumps(with_digest(data)), "manifest.json")
    report = found.parity.report
    assert (report.questions, report.constants, report.ok) == (("accurate",), None, True)
    assert {row.question for row in report.rows} == {"accurate"}


def test_fields_that_came_later_are_filled_in(tmp_path: Path) -> None:
    data = manifest_1()
    del data["compute"]
    for name in ("ledger", "keep", "layers", "pruned"):
        del data["recipe"][name]
    for row in data["parity"]["rows"]:
        del row["metrics"], row["hint"]
    data["files"] = {"tiny.bin": {"sha256": SHA, "bytes": 7}}
    found = manifest.parse(json.dumps(with_digest(data)), "manifest.json")
    assert found.compute == "all"
    assert (found.recipe.keep, found.recipe.pass_report) == ({}, ())


def test_a_bundle_is_upgraded_once(tmp_path: Path) -> None:
    folder = old_bundle(tmp_path / "tiny-ios")
    before = bundle.read(folder).manifest
    result = mlship("upgrade", folder)
    assert result.exit_code == 0, result.output
    assert "manifest of schema 1 is one of schema 5 now" in result.stdout
    text = (folder / "manifest.json").read_text()
    data = json.loads(text)
    assert data["schema"] == 5
    assert data["digest"] == manifest.digest_of(data) != before.digest
    after = bundle.read(folder).manifest
    assert after == before.model_copy(update={"digest": after.digest})
    again = mlship("upgrade", folder, "--json")
    (row,) = json.loads(again.stdout)
    assert (row["what"], row["before"], row["after"], row["changed"]) == ("manifest", 5, 5, False)
    assert (folder / "manifest.json").read_text() == text


def test_a_project_is_upgraded_with_its_lock_and_baseline(project: Path) -> None:
    old_budgets = config.read(project).budgets
    result = mlship("upgrade", project)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("is one of schema 2 now") == 2
    assert result.stdout.count("is one of schema 3 now") == 1
    assert (project / "mlship.toml").read_text() == TOML.replace("[models", "schema = 2\n\n[models")
    assert config.read(project).budgets == old_budgets
    locked = lock.read(project / "mlship.lock").bundles["depth-ios"]
    assert str(locked.weights) == SAID
    assert locked.recipe == ("fp16", "fold-batchnorm")
    figures = state.read(project / "mlship.baseline.json").bundles["depth-ios"]
    assert figures.weights.kind == "untrained"
    assert (figures.figures["disk"], figures.blocks, figures.peak) == (8902786, (1.5,), 3.25)
    texts = [path.read_text() for path in sorted(project.iterdir())]
    assert mlship("upgrade", project).stdout.count(" already") == 3
    assert [path.read_text() for path in sorted(project.iterdir())] == texts


def test_each_file_can_be_named(project: Path) -> None:
    names = ("mlship.toml", "mlship.lock", "mlship.baseline.json")
    result = mlship("upgrade", *(project / name for name in names), "--json")
    assert [row["what"] for row in json.loads(result.stdout)] == ["mlship.toml", "lock", "baseline"]
    assert '"schema": 3' in (project / "mlship.lock").read_text()


def test_what_cannot_be_upgraded_leaves_all_as_it_was(project: Path) -> None:
    liar = {**LOCK, "bundles": {"depth-ios": {**LOCK["bundles"]["depth-ios"], "weights": "mine"}}}  # type: ignore[dict-item]
    (project / "mlship.lock").write_text(json.dumps(liar))
    texts = [path.read_text() for path in sorted(project.iterdir())]
    result = mlship("upgrade", project)
    assert result.exit_code == 2
    assert "it is not what schema 1 was: weights are 'mine'" in result.stderr
    assert [path.read_text() for path in sorted(project.iterdir())] == texts


def test_a_full_disk_leaves_all_as_it_was(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = upgrade.write_whole

    def full(path: Path, content: str | bytes) -> None:
        if path.name == "mlship.baseline.json":
            raise CannotWrite("cannot write: No space left on device", where=str(path))
        written(path, content)

    monkeypatch.setattr(upgrade, "write_whole", full)
    with pytest.raises(CannotWrite):
        upgrade.upgrade([project])
    assert (project / "mlship.toml").read_text() == TOML
    assert json.loads((project / "mlship.lock").read_text()) == LOCK


@pytest.mark.parametrize("there", ["", "schema = 1\n"])
def test_lines_of_a_project_end_as_they_did(project: Path, there: str) -> None:
    path, crlf = project / "mlship.toml", (there + TOML).replace("\n", "\r\n").encode()
    path.write_bytes(crlf)
    assert mlship("upgrade", path).exit_code == 0
    new = TOML.replace("[models", "schema = 2\n\n[models")
    assert path.read_bytes() == new.replace("\n", "\r\n").encode()


def test_a_full_disk_leaves_the_ends_of_lines_as_they_were(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crlf = TOML.replace("\n", "\r\n").encode()
    (project / "mlship.toml").write_bytes(crlf)
    written = upgrade.write_whole

    def full(path: Path, content: str | bytes) -> None:
        if path.name == "mlship.lock":
            raise CannotWrite("cannot write: No space left on device", where=str(path))
        written(path, content)

    monkeypatch.setattr(upgrade, "write_whole", full)
    with pytest.raises(CannotWrite):
        upgrade.upgrade([project])
    assert (project / "mlship.toml").read_bytes() == crlf


def test_a_bundle_that_was_changed_is_not_upgraded(tmp_path: Path) -> None:
    folder = old_bundle(tmp_path / "tiny-ios")
    (folder / "tiny.bin").write_bytes(b"weight?")
    with pytest.raises(BadBundle, match="was changed after the build"):
        upgrade.upgrade([folder])
    shutil.rmtree(folder)
    folder = old_bundle(tmp_path / "tiny-ios")
    text = (folder / "manifest.json").read_text().replace("a tiny net", "another net")
    (folder / "manifest.json").write_text(text)
    with pytest.raises(BadBundle, match="was edited"):
        upgrade.upgrade([folder])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 9}', '{"state": {"schema": 2}}'])
def test_what_is_none_of_these_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(text)
    with pytest.raises(BadRecord):
        upgrade.upgrade([path])
    with pytest.raises(BadRecord, match="nothing to upgrade"):
        upgrade.upgrade([tmp_path / "nowhere"])
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("text", "schema"), [("schema = 3\n", "3"), ("schema = 'two'\n", "not a number")]
)
def test_a_project_of_another_schema_is_refused(tmp_path: Path, text: str, schema: str) -> None:
    (tmp_path / "mlship.toml").write_text(f"{text}[models.depth]\n")
    with pytest.raises(BadConfig, match=schema):
        config.read(tmp_path)
