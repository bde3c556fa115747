"""`mlship diff`: what changed between two bundles or two reports, and in which layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from own_models import tiny

from toolchain.cli.main import main


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def wider(shared: Path) -> Path:
    """The bundle of the shared model with a larger last convolution."""
    text = tiny().replace("nn.Conv2d(4, 1, 1)", "nn.Conv2d(4, 1, 5, padding=2)")
    path = shared / "wider.py"
    path.write_text(text)
    made = invoke("build", f"{path}:spec", "--target", "android", "--out", shared / "wider")
    assert made.exit_code == 0, made.output
    return shared / "wider" / "tiny-android"


def test_bytes_by_layer(shared: Path, wider: Path) -> None:
    result = invoke("diff", shared / "dist" / "tiny-android", wider, "--json")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    assert found["figures"]["disk"]["after"] > found["figures"]["disk"]["before"]
    (largest, *_) = found["layer_bytes"]
    assert largest["layer"].startswith("out")
    assert (largest["before"], largest["after"]) == (10, 202)


def test_the_table(shared: Path, wider: Path) -> None:
    result = invoke("diff", shared / "dist" / "tiny-android", wider, "--time")
    assert result.exit_code == 0, result.output
    assert "bytes by layer" in result.stdout
    assert "milliseconds by layer" in result.stdout
    assert "latency" in result.stdout


def test_the_same_bundle(shared: Path) -> None:
    same = shared / "dist" / "tiny-android"
    result = invoke("diff", same, same)
    assert "the same artifact, byte for byte" in result.stdout


def state(**bundles: dict[str, float]) -> dict[str, Any]:
    def one(name: str, figures: dict[str, float]) -> dict[str, Any]:
        text = dict.fromkeys(("model", "target", "recipe"), "x") | {"weights": "untrained, seed 0"}
        lists = {"layer_bytes": {}, "layer_ms": {}, "runtime": "", "blocks": [], "peak": 0.0}
        digest = str(sorted(figures.items()))
        return {"bundle": name, **text, "artifact": digest, "figures": figures, **lists}

    found = [one(name, figures) for name, figures in bundles.items()]
    return {"schema": 1, "fingerprint": "f", "machine": "m", "bundles": found}


def test_two_baselines_or_reports(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(state(a={"wire": 100.0}, b={"wire": 5.0})))
    (tmp_path / "b.json").write_text(json.dumps({"state": state(a={"wire": 150.0})}))
    result = invoke("diff", tmp_path / "a.json", tmp_path / "b.json", "--json")
    (found,) = json.loads(result.stdout)
    assert found["figures"] == {"wire": {"before": 100.0, "after": 150.0}}
    assert "+50.0%" in invoke("diff", tmp_path / "a.json", tmp_path / "b.json").stdout


def test_reports_without_a_bundle_in_common(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(state(a={})))
    (tmp_path / "b.json").write_text(json.dumps(state(b={})))
    result = invoke("diff", tmp_path / "a.json", tmp_path / "b.json")
    assert result.exit_code == 2
    assert "no bundle in common" in result.stderr


def test_a_bundle_and_a_report(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(state(a={})))
    result = invoke("diff", shared / "dist" / "tiny-android", tmp_path / "a.json")
    assert result.exit_code == 2
    assert "pass two of a kind" in result.stderr


def test_what_is_not_there(tmp_path: Path) -> None:
    result = invoke("diff", tmp_path / "a.json", tmp_path / "b.json")
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


def test_two_formats_are_not_timed_side_by_side(shared: Path) -> None:
    dist = shared / "dist"
    result = invoke("diff", dist / "tiny-android", dist / "tiny-web", "--time")
    assert result.exit_code == 2
    assert "leave --time away" in result.stderr


def test_what_does_not_exist_is_named(tmp_path: Path) -> None:
    there, nothing = tmp_path / "there", tmp_path / "nothing"
    there.mkdir()
    for pair in ((there, nothing), (nothing, there)):
        result = invoke("diff", *pair)
        assert result.exit_code == 2
        assert "this does not exist" in result.stderr
        assert str(nothing) in result.stderr
        assert "cannot be compared" not in result.stderr
