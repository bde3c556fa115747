"""`mlship init`: from an empty folder to a green `mlship ci`, as the README says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from toolchain.ci import config, template
from toolchain.cli.main import main

README = Path(__file__).parents[2] / "README.md"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_an_empty_folder_becomes_green(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "edges"
    assert invoke("init", folder).exit_code == 0
    monkeypatch.chdir(folder)
    assert invoke("ci", "--update-baseline").exit_code == 0
    result = invoke("ci", "--json")
    assert result.exit_code == 0, result.output
    checks = json.loads(result.stdout)["checks"]
    assert {c["bundle"] for c in checks} == {"edges", "edges-ios", "edges-android", "edges-web"}
    assert all(c["verdict"] == "passed" for c in checks), [
        c for c in checks if c["verdict"] != "passed"
    ]
    assert {c["name"] for c in checks} > {"wire", "wire_growth", "latency_ratio", "psnr", "parity"}


def test_json_lists_what_was_written(tmp_path: Path) -> None:
    written = json.loads(invoke("init", tmp_path, "--json").stdout)
    assert [Path(p).relative_to(tmp_path).as_posix() for p in written] == list(template.FILES)
    assert config.read(tmp_path).models[0].name == "edges"


@pytest.mark.parametrize("name", template.FILES)
def test_what_is_there_is_left_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    result = invoke("init", tmp_path)
    assert result.exit_code == 2
    assert "is there already" in result.stderr
    assert path.read_text() == "mine"
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1


def test_the_model_is_the_readme_s() -> None:
    model = (template.HERE / template.FILES["my_net.py"]).read_text(encoding="utf-8")
    assert f"```python\n{model}```" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["mlship.toml", ".github/workflows/mlship.yml"])
def test_the_readme_shows_what_is_written(name: str) -> None:
    text = (template.HERE / template.FILES[name]).read_text(encoding="utf-8")
    assert text in README.read_text(encoding="utf-8")
