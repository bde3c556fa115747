"""What hides under a product's tolerance: wrong conversions, damaged files, bundles that lie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from own_models import Two
from safetensors.numpy import load_file
from torch import nn

from converters import formats
from converters.api import Artifact, Tensors
from converters.capture import capture
from converters.processes.worker import Worker
from model_defs import lookup
from tests.toolchain.layer_faults import Fault, weight
from tests.toolchain.manifests import resealed
from toolchain.build import produce
from toolchain.build.build import build
from toolchain.build.prepare import Prepared
from toolchain.build.request import BuildRequest, Built
from toolchain.bundle import bundle as bundles
from toolchain.cli.main import main
from toolchain.debug.blame import worst_case
from toolchain.parity.reference import Reference
from toolchain.parity.subject import Subject
from toolchain.recipes import recipes, targets

SLIGHT = weight("middle", lambda w: w + 1e-2 * (w == w.max()))
"""Off by less than the tolerance of 0.02, and by a thousand times what rounding moves."""


def mlship(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.fixture
def cache(two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def built(two: Two, out: Path, recipe: str = "fp16", target: str = "android") -> Built:
    asked = BuildRequest((two.model,), targets.find((target,)), recipes.find(recipe), out=out)
    (one,) = build(asked)
    return one


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("target", ["ios", "android", "web"])
def test_a_wrong_file_within_the_tolerance_is_not_built(
    target: str, two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = produce.convert

    def faulty(prepared: Prepared, *rest: Any) -> Artifact:
        artifact = convert(prepared, *rest)
        SLIGHT.put(artifact.format, artifact.path, prepared.program)
        return artifact

    monkeypatch.setattr(produce, "convert", faulty)
    one = built(two, tmp_path / "dist", target=target)
    assert one.report is not None
    assert {r.verdict for r in one.report.of("accurate")} <= {"passed", "skipped"}
    assert {r.verdict for r in one.report.of("unrounded")} <= {"passed", "skipped"}
    assert "failed" in {r.verdict for r in one.report.of("faithful")}
    assert [fault.layer for fault in one.report.constants.faults] == ["middle"]  # type: ignore[union-attr]
    assert not (tmp_path / "dist" / f"two-{target}").exists()


def test_a_wrong_conversion_is_not_hidden_by_a_recipe_and_a_right_one_is_asked_once(
    two: Two, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what is converted in float32 is wrong, as a rule is that a quantised graph lacks."""
    convert, asked = Worker.convert, list[str]()
    prepared = capture(lookup.load(two.model))

    def faulty(self: Worker, export: Any, *rest: Any) -> Artifact:
        artifact = convert(self, export, *rest)
        plain = export.precision == "float32" and not export.grids
        asked.append("unrounded" if plain else "rounded")
        if plain and wrong:
            LEFT.put(artifact.format, artifact.path, prepared)
        return artifact

    monkeypatch.setattr(Worker, "convert", faulty)
    wrong = True
    one = built(two, tmp_path / "dist")
    assert one.report is not None
    assert {r.question for r in one.report.rows if r.verdict == "failed"} == {"unrounded"}
    assert "not unrounded: 'depth'" in one.problems[0]
    assert not list(cache.glob("conversions/*"))
    wrong = False
    asked.clear()
    assert built(two, tmp_path / "dist").ok
    assert built(two, tmp_path / "dist", "weights-int8").ok
    assert asked == ["rounded", "unrounded", "rounded"]
    (kept,) = cache.glob("conversions/*.json")
    data = json.loads(kept.read_text())
    assert {row["question"] for row in data["rows"]} == {"unrounded"}
    kept.write_text(json.dumps({**data, "key": "0" * 64}))
    assert built(two, tmp_path / "dist", "weights-int4").ok
    assert asked[3:] == ["rounded", "unrounded"], "a record of another conversion is not believed"


LEFT: Fault = weight("left", lambda w: w * 1.001)


def test_the_largest_nets_are_not_converted_twice_and_it_is_said(
    two: Two, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolchain.build.unrounded.LARGE", 10)
    one = built(two, tmp_path / "dist")
    assert one.ok
    assert one.report is not None
    assert one.report.questions == ("accurate", "faithful")
    (row,) = one.report.of("unrounded")
    assert row.verdict == "skipped"
    assert "not converted a second time" in row.note
    assert not cache.joinpath("conversions").exists()


@pytest.fixture
def copy(two: Two, tmp_path: Path) -> Callable[[str], Path]:
    def copied(target: str) -> Path:
        folder = tmp_path / f"two-{target}"
        shutil.copytree(two.bundles[target].directory, folder)
        return folder

    return copied


def damaged(two: Two, folder: Path) -> Path:
    """A bundle with another number in it, sealed again."""
    artifact = bundles.read(folder).artifact
    program = capture(lookup.load(two.model))
    with_half = produce_program(program)
    SLIGHT.put(artifact.format, artifact.path, with_half)
    return resealed(folder)


def produce_program(program: Any) -> Any:
    from toolchain.recipes import pipeline

    return pipeline.run(program, recipes.find("fp16").load())


@pytest.mark.parametrize("target", ["ios", "android", "web"])
def test_a_file_that_was_damaged_and_sealed_again_is_found_on_every_look(
    target: str, two: Two, copy: Callable[[str], Path]
) -> None:
    folder = copy(target)
    good = mlship("inspect", folder)
    assert good.exit_code == 0, good.output
    assert "faithful on" in good.stdout
    damaged(two, folder)
    looked = mlship("inspect", folder)
    assert looked.exit_code == 1
    assert "not faithful" in looked.stdout
    alone = mlship("parity", folder)
    assert alone.exit_code == 1, alone.stderr
    assert "It was judged by its own words." in alone.stdout
    assert "not faithful" in alone.stderr
    with_model = mlship("parity", folder, "--model", two.model, "--json")
    assert with_model.exit_code == 1
    (found,) = json.loads(with_model.stdout)
    assert [fault["layer"] for fault in found["constants"]["faults"]] == ["middle"]
    accused = mlship("blame", folder, "--model", two.model)
    assert accused.exit_code == 1
    assert "of middle is not the program's" in accused.stdout
    assert "middle (conv2d)" in accused.stdout


def test_a_bundle_holds_what_the_rounded_program_answers(two: Two) -> None:
    for one in two.bundles.values():
        (name,) = one.manifest.golden_rounded
        rounded, golden = (load_file(one.directory / n) for n in (name, "golden/noise.safetensors"))
        assert rounded.keys() == {"depth", "mask"}
        difference = np.abs(rounded["depth"] - golden["depth"]).max()
        assert 1e-6 < difference < 1e-3


WORDS: dict[str, tuple[str, Any]] = {
    "tolerance": ("tolerance is 1.0, the model 0.02", 1.0),
    "low": ("low is -3.0, the model 0", -3.0),
    "high": ("high is 7.0, the model 1", 7.0),
    "unit": ("unit is 'm', the model ''", "m"),
    "kind": ("kind is 'features', the model 'map'", "features"),
}


@pytest.mark.parametrize("field", WORDS)
def test_a_bundle_that_says_otherwise_than_its_model_is_refused(
    field: str, two: Two, copy: Callable[[str], Path]
) -> None:
    said, value = WORDS[field]
    folder = resealed(copy("android"), lambda m: m["outputs"][0].__setitem__(field, value))
    result = mlship("parity", folder, "--model", two.model)
    assert result.exit_code == 2, result.output
    assert f"output 'depth': the bundle says {said}" in result.stderr
    assert "Traceback" not in result.output


def test_every_field_that_differs_is_named(two: Two, copy: Callable[[str], Path]) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["outputs"][1] |= {"tolerance": 0.9, "unit": "m"}

    result = mlship("parity", resealed(copy("android"), change), "--model", two.model)
    assert result.exit_code == 2
    assert "unit is 'm', the model ''" in result.stderr
    assert "tolerance is 0.9, the model 0.02" in result.stderr


class Module(nn.Module):
    """Stands for a program: nobody runs it."""


def test_blame_looks_at_the_worst_case(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    one = two.bundles["android"]
    cases = {name: {"image": np.full(4, n)} for n, name in enumerate(("photo", "noise", "zeros"))}
    right = {"depth": np.arange(6, dtype=np.float32), "mask": np.ones(6, np.float32)}
    specs = tuple(replace(spec, shape=(6,), postprocess=None) for spec in one.outputs)

    class Off:
        backend = "fake"

        def run(self, inputs: Tensors) -> Tensors:
            off = 0.01 * (inputs["image"][0] == 1)
            return {**right, "depth": right["depth"] + np.float32(off)}

        def close(self) -> None:
            """Nothing to free."""

    monkeypatch.setattr(formats, "open_in_float32", lambda artifact: Off())
    held = Reference(cases, dict.fromkeys(cases, right), specs)
    both = replace(held, faithful=replace(held, question="faithful"))
    assert worst_case(Subject(one, both)) == "noise"
    assert worst_case(Subject(one, held)) == "photo", "nothing is known of the rounded program"
