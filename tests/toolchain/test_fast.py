"""The recipe `fast`: the model's own weights with fewer channels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from model_defs import zoo
from model_defs.errors import RecipeMismatch
from toolchain.bundle.manifest import RecipeEntry
from toolchain.cli.main import main
from toolchain.recipes import recipes

PRUNED = [name for name in zoo.MODELS if zoo.load(name).pruned is not None]
SHARES = {"depth": 0.52}
"""Of the multiply-adds, what is left at most where it is more than half."""


def mlship(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_fewer_channels_are_built_and_compared_with_themselves(tmp_path: Path) -> None:
    result = mlship(
        *("build", "portrait", "--target", "android", "--recipe", "fast", "--out", tmp_path)
    )
    assert result.exit_code == 0, result.output
    bundle = tmp_path / "portrait-android"
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["model"]["weights"]["file"] == "portrait-fast.safetensors"
    assert manifest["recipe"]["pruned"]
    checked = mlship("parity", bundle, "--backend", "litert", "--json")
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize("name", PRUNED)
def test_the_nets_are_about_half_as_much_work(name: str) -> None:
    from converters.capture import capture
    from toolchain.recipes import pipeline

    spec = zoo.load(name)
    whole, fast = (
        pipeline.record(capture(spec, path), [])[1][0].macs for path in (None, spec.pruned)
    )
    assert 0 < fast <= SHARES.get(name, 0.5) * whole


def test_a_model_without_such_weights_is_refused() -> None:
    with pytest.raises(RecipeMismatch, match="no weights with fewer channels") as error:
        recipes.find("fast").weights_of(zoo.load("saliency"))
    assert "mlship prune saliency" in error.value.do
    assert mlship("build", "saliency", "--target", "web", "--recipe", "fast").exit_code == 2
    assert mlship("sensitivity", "saliency", "--recipe", "fast").exit_code == 2


def test_the_smallest_has_fewer_channels_where_there_are_such_weights(tmp_path: Path) -> None:
    smallest, portrait, saliency = (
        recipes.find("smallest"),
        *map(zoo.load, ("portrait", "saliency")),
    )
    assert smallest.weights_of(portrait) == portrait.pruned
    assert smallest.weights_of(saliency) == saliency.weights
    asked = ("build", "portrait", "--target", "web", "--recipe", "smallest", "--out", tmp_path)
    result = mlship(*asked)
    assert result.exit_code == 0, result.output
    bundle = tmp_path / "portrait-web"
    assert json.loads((bundle / "manifest.json").read_text())["recipe"]["pruned"]
    weighed = mlship("size", bundle, "--json")
    assert json.loads(weighed.output)[0]["disk"] < 600_000  # of 8.3 MB
    checked = mlship("parity", bundle, "--backend", "tfjs-wasm", "--json")
    assert checked.exit_code == 0, checked.output


def test_weights_that_are_given_are_taken() -> None:
    given = Path("mine.safetensors")
    assert recipes.find("fast").weights_of(zoo.load("saliency"), given) == given
    assert recipes.find("fp16").weights_of(zoo.load("portrait")) == zoo.load("portrait").weights


def test_it_goes_through_a_manifest() -> None:
    fast = recipes.find("fast")
    entry = RecipeEntry(name="fast", passes=fast.steps, pruned=True)
    assert recipes.of_manifest(entry).key == fast.key
    assert recipes.of_manifest(entry.model_copy(update={"pruned": False})).key != fast.key
