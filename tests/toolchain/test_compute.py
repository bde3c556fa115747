"""Compute units: recorded in the manifest, set by the loading code, and run on a (faked) Mac."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from click.testing import CliRunner, Result

from converters import backends, mil
from converters.coreml import runner as coreml_runner
from model_defs.pixels import FILTERS
from model_defs.spec import Colour, Postprocess, Preprocess, Resize
from toolchain.build.ship import LOADING
from toolchain.bundle import bundle
from toolchain.bundle.compute import Compute
from toolchain.cli.main import main

SWIFT = (LOADING / "MLShip.swift").read_text()


def mlship(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_a_bundle_says_all_and_carries_the_loading_code(shared: Path) -> None:
    found = bundle.read(shared / "dist" / "tiny-ios")
    assert found.manifest.compute == "all"
    assert (found.directory / "MLShip.swift").read_text() == SWIFT
    assert bundle.read(shared / "dist" / "tiny-android").manifest.compute is None


def test_compute_units_are_recorded(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSHIP_CACHE", str(shared / "cache"))
    asked = ("build", f"{shared}/net.py:spec", "--target", "ios", "--target", "android")
    result = mlship(*asked, "--out", tmp_path, "--compute", "cpu_and_gpu", "--json")
    assert result.exit_code == 0, result.output
    cached = {one["target"]: one["cached"] for one in json.loads(result.stdout)}
    assert cached == {"ios": False, "android": True}
    assert bundle.read(tmp_path / "tiny-ios").manifest.compute == "cpu_and_gpu"


def test_refuses_compute_units_where_there_are_none(shared: Path) -> None:
    asked = ("build", f"{shared}/net.py:spec", "--target", "web", "--compute", "cpu_only")
    result = mlship(*asked)
    assert result.exit_code == 2
    assert "use --target ios" in result.stderr


def test_the_loading_code_says_that_it_was_not_compiled() -> None:
    assert "NOT COMPILED ON A MAC YET" in SWIFT


@pytest.mark.parametrize(
    "name", [*get_args(Compute), *get_args(Resize), *get_args(Colour), *FILTERS]
)
def test_the_loading_code_knows_every_name_of_a_manifest(name: str) -> None:
    assert f'"{name}"' in SWIFT


@pytest.mark.parametrize("rule", [Preprocess, Postprocess])
def test_the_loading_code_decodes_every_field(rule: type[Any]) -> None:
    (body,) = re.findall(rf"struct {rule.__name__}: Decodable {{(.*?)}}", SWIFT, re.DOTALL)
    decoded = {n for names in re.findall(r"let ([\w, ]+):", body) for n in names.split(", ")}
    assert decoded == {field.name for field in dataclasses.fields(rule)}


ComputeUnit = Enum("ComputeUnit", ["ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"])
"""Named as coremltools.ComputeUnit; `test_coreml.py` uses the real one."""


class FakeModel:
    """The documented part of coremltools.models.MLModel: one unit is a little off."""

    def __init__(self, path: str, compute_units: Any, function_name: str | None) -> None:
        self.units = compute_units.name
        self.main = mil.open_package(Path(path)).at(function_name or "")

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        off = 0.5 if self.units == "CPU_AND_NE" else 0.0
        return {name: array + off for name, array in self.main.run(inputs).items()}


UNITS = {
    "coreml": "ALL",
    "coreml-cpu": "CPU_ONLY",
    "coreml-gpu": "CPU_AND_GPU",
    "coreml-ane": "CPU_AND_NE",
}


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    fake = SimpleNamespace(models=SimpleNamespace(MLModel=FakeModel), ComputeUnit=ComputeUnit)
    monkeypatch.setattr(coreml_runner, "coremltools", lambda: fake)


@pytest.mark.usefixtures("mac")
@pytest.mark.parametrize("name", UNITS)
def test_each_backend_of_a_mac_asks_for_its_units(name: str, shared: Path) -> None:
    found = bundle.read(shared / "dist" / "tiny-ios")
    artifact = found.artifact
    runner = backends.find(name).open(artifact)
    assert isinstance(runner, coreml_runner.CoreMlRunner)
    assert runner._model.units == UNITS[name]


@pytest.mark.usefixtures("mac")
def test_parity_on_a_mac_names_the_unit_that_differs(shared: Path) -> None:
    names = [flag for name in ("mil", *UNITS) for flag in ("--backend", name)]
    result = mlship("parity", shared / "dist" / "tiny-ios", *names, "--json")
    assert result.exit_code == 1, result.output
    (outcome,) = json.loads(result.stdout)
    verdicts: dict[str, set[str]] = {}
    for row in outcome["rows"]:
        verdicts.setdefault(row["backend"], set()).add(row["verdict"])
    assert verdicts == {
        "mil": {"passed"},
        "coreml": {"passed"},
        "coreml-cpu": {"passed"},
        "coreml-gpu": {"passed"},
        "coreml-ane": {"failed"},
    }
