"""`mlship audit`: planted faults of float16 are found, with their lines; sound models pass."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from own_models import tiny

from toolchain.cli.main import main

OVERFLOW = "(x * 1e3).square() * 1e-6"
VANISHING = "x / (x + 1e-8)"
EPSILON = "nn.functional.instance_norm(x, eps=1e-5)"
ATTENTION = "(lambda q: (q @ q.mT).softmax(-1) @ q)(x.reshape(16, 4, -1)).reshape(x.shape) * 1e-3"
LINE = 1 + tiny().splitlines().index("        return self.out(x).sigmoid()")


def mlship(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@dataclass(frozen=True)
class Faulty:
    model: str
    bundle: Path
    said: str


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    """A float32 bundle with all three faults, and what is wrong on the GPU alone."""
    root = tmp_path_factory.mktemp("faulty")
    (root / "net.py").write_text(tiny(f"{OVERFLOW} + {VANISHING} + {EPSILON} + {ATTENTION}"))
    model = f"{root}/net.py:spec"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSHIP_CACHE", str(root / "cache"))
        built = mlship("build", model, "--target", "ios", "--recipe", "fp32", "--out", root)
    assert built.exit_code == 0, built.output
    return Faulty(model, root / "tiny-ios", built.output)


def findings(result: Result) -> dict[str, list[dict[str, Any]]]:
    """The findings of the only bundle, by kind."""
    (one,) = json.loads(result.stdout)
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in one["findings"]:
        found.setdefault(finding["kind"], []).append(finding)
    return found


def test_finds_the_planted_faults_with_their_lines(faulty: Faulty) -> None:
    result = mlship("audit", faulty.bundle, "--model", faulty.model, "--json")
    assert result.exit_code == 1, result.output
    found = findings(result)
    assert found.keys() == {"overflow", "vanishing-constant", "small-epsilon"}
    (overflow,) = found["overflow"]
    assert overflow["value"] > 65504
    assert overflow["operation"] in ("square", "mul", "pow")
    (vanishing,) = (f for f in found["vanishing-constant"] if f["operation"] == "add")
    assert vanishing["value"] == pytest.approx(1e-8)
    (epsilon,) = found["small-epsilon"]
    assert epsilon["operation"] == "instance_norm"
    assert epsilon["value"] == pytest.approx(1e-5)
    for finding in (overflow, vanishing, epsilon):
        assert finding["source"].endswith(f"net.py:{LINE}")
        assert finding["advice"]


def test_what_one_unit_gets_wrong_is_a_warning_of_build_and_audit(faulty: Faulty) -> None:
    wrong = "computes attention with a batch of 10 and more wrong on the GPU"
    assert wrong in " ".join(faulty.said.split())
    (one,) = json.loads(mlship("audit", faulty.bundle, "--json").stdout)
    (warning,) = one["unit_warnings"]
    assert warning.startswith("matmul '")
    assert wrong in warning
    assert "reported in apple/coremltools#2650" in warning
    assert f"warning: {warning}" in mlship("audit", faulty.bundle).stdout


def test_the_text_says_what_to_change(faulty: Faulty) -> None:
    result = mlship("audit", faulty.bundle)
    assert result.exit_code == 1
    assert "overflow: keep this part in float32" in result.stdout
    assert "small-epsilon: an epsilon below 6e-5" in result.stdout
    assert "instance_norm" in result.stdout
    assert "may leave the Neural Engine: it computes in float32" in result.stdout


def test_a_sound_bundle_passes_and_float16_is_noted(shared: Path) -> None:
    result = mlship("audit", shared / "dist" / "tiny-ios", "--json")
    assert result.exit_code == 0
    (one,) = json.loads(result.stdout)
    assert one["findings"] == []
    assert one["cases"] == ["photo", "noise"]
    assert "--recipe fp32" in one["note"]
    assert one["placement_hints"] == []


def test_refuses_a_bundle_of_another_target(shared: Path) -> None:
    result = mlship("audit", shared / "dist" / "tiny-android")
    assert result.exit_code == 2
    assert "this bundle is for android" in result.stderr
    assert "mlship audit tiny" in result.stderr


def test_a_model_that_cannot_be_built_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(tiny("x.median(1, keepdim=True).values.expand(1, 4, 16, 24)"))
    result = mlship("audit", f"{tmp_path}/net.py:spec")
    assert result.exit_code == 2
    assert "median" in result.stderr
