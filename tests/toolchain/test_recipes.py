"""Recipes: how they are written, what they need of a target, and what is wrong with bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_defs.errors import BadRecipe, UnknownName, UnsupportedOption
from toolchain import passes
from toolchain.bundle.manifest import RecipeEntry
from toolchain.passes import PASSES
from toolchain.passes.palettize import Palettize
from toolchain.passes.prune_channels import PruneChannels
from toolchain.passes.prune_weights import PruneWeights
from toolchain.pruning.goal import IMPORTANCES
from toolchain.recipes import recipes, targets


def test_steps_may_be_composed() -> None:
    recipe = recipes.find("weights-int4=32, weights-fp16")
    assert recipe.steps == ("fold-batchnorm", "weights-int4=32", "weights-fp16")
    assert recipe.passes == ("fold-batchnorm", "weights-int4", "weights-fp16")
    assert recipe.stores == ("int4-blocks", "float16")
    (_, quantise, _) = recipe.load()
    assert quantise.block == 32  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("weights-int4=7", "block is one of 16, 32, 64"),
        ("palettize", "bits is one of 8, 6, 4, 3, 2"),
        ("palettize=x", "bits is one of"),
        ("palettize=5", "bits is one of"),
        ("palettize=sensitive", "bits is one of"),
        ("palettize=", "bits is one of"),
        ("palettize=4/", "after a slash comes sensitive, not ''"),
        ("palettize=4/careful", "after a slash comes sensitive, not 'careful'"),
        ("palettize=4/sensitive/sensitive", "says again"),
        ("weights-int4=32/layer", "after a slash comes nothing, not 'layer'"),
        ("prune-weights=2:3", "ratio is between 0 and 1, or 1:2, or 1:4, or 2:4, or 4:8"),
        ("prune-weights=0.5/2:4", "after a slash comes layer, not '2:4'"),
        ("prune-channels=0.3/taylor/hessian", "'hessian' says again"),
        ("prune-channels=nan", "ratio is between 0 and 1"),
        ("weights-int6=3", "takes no option"),
        ("weights-int8,weights-int8", "stands twice"),
        ("weights-int8,weights-int4", "weights-int8 stores every kernel, so weights-int4 would do"),
        ("palettize=4/sensitive,weights-int6", "palettize=4/sensitive stores every kernel"),
        ("weights-fp16,prune-weights=0.5,weights-uint8", "weights-fp16 stores every kernel"),
        ("int8,weights-int8,palettize=4", "weights-int8 stores every kernel, so palettize=4"),
        ("weights-mixed", "needs layers"),
        ("nowhere.json", "cannot be read"),
    ],
)
def test_bad_steps_are_refused(text: str, said: str) -> None:
    with pytest.raises(BadRecipe) as error:
        recipes.find(text)
    assert said in str(error.value)
    assert error.value.do


@pytest.mark.parametrize(
    ("step", "made"),
    [
        ("palettize=4", Palettize(4)),
        ("palettize=3/sensitive", Palettize(3, sensitive=True)),
        ("prune-channels", PruneChannels()),
        ("prune-channels=0.4/taylor", PruneChannels(0.4, importance="taylor")),
        ("prune-channels=hessian/layer", PruneChannels(importance="hessian", scope="layer")),
        ("prune-weights=0.7/layer", PruneWeights(0.7, "layer")),
        ("prune-weights=2:4", PruneWeights(pattern="2:4")),
    ],
)
def test_a_step_says_what_its_pass_does(step: str, made: object) -> None:
    recipe = recipes.find(step)
    assert recipe.load()[-1] == made
    assert recipe.stores == (() if "prune" in step else (f"palette{made.bits}",))  # type: ignore[attr-defined]


def test_every_word_and_example_is_understood() -> None:
    options = {name: passes.find(name).option for name in PASSES}
    for name, option in options.items():
        if option is None:
            continue
        for text in (*option.instead, *option.words):
            value = "" if option.optional else f"{option.choices[0]}/"
            assert recipes.find(f"{name}={value}{text}").load()
        for example in option.example.split(" or "):
            assert recipes.find(example).load()


def test_every_importance_can_be_written() -> None:
    assert PruneChannels.option.words.keys() >= set(IMPORTANCES)


@pytest.mark.parametrize("text", ["fp61", "weights-int9,weights-fp16", "smal", "palette=4"])
def test_unknown_names_suggest(text: str) -> None:
    with pytest.raises(UnknownName, match="did you mean"):
        recipes.find(text)


def test_only_passes_that_move_outputs_beyond_rounding_are_lossy() -> None:
    assert recipes.find("fp32").exact
    assert not recipes.find("fp16").exact
    assert not recipes.find("fp16").lossy
    assert not recipes.find("uint16").lossy
    assert recipes.find("uint8").lossy
    assert recipes.find("small").lossy
    assert recipes.find("weights-int8,weights-fp16").lossy


def test_every_recipe_is_of_passes_that_there_are() -> None:
    for recipe in recipes.RECIPES.values():
        for target in targets.TARGETS:
            assert set(recipe.on(target).passes) <= PASSES.keys()


@pytest.mark.parametrize("recipe", ["fp32", "fp16", "small", "smallest"])
def test_named_recipes_can_be_stored_everywhere(recipe: str) -> None:
    targets.check_recipe(targets.find(("all",)), recipes.find(recipe))


@pytest.mark.parametrize(
    ("target", "recipe", "nearest"),
    [
        ("android", "weights-int6", "weights-int8"),
        ("android", "palettize=4", "weights-int4"),
        ("android", "weights-int4=32", "weights-int4"),
        ("web", "weights-int4=32", "weights-int8"),
        ("web", "palettize=2", "weights-int8"),
        ("ios", "uint16", "fp16"),
        ("ios", "uint8", "weights-int8"),
    ],
)
def test_what_a_target_cannot_store_is_refused_with_the_nearest(
    target: str, recipe: str, nearest: str
) -> None:
    with pytest.raises(UnsupportedOption) as error:
        targets.check_recipe(targets.find((target,)), recipes.find(recipe))
    assert f"--recipe {nearest}, the nearest" in error.value.do
    targets.check_recipe(targets.find((target,)), recipes.find(nearest))


def test_a_recipe_goes_through_a_file_and_a_manifest(tmp_path: Path) -> None:
    recipe = recipes.Recipe("mine", ("fold-batchnorm", "weights-mixed"), layers={"a.b": "int6"})
    path = tmp_path / "net.recipe.json"
    path.write_text(recipes.text_of(recipe))
    read = recipes.find(str(path))
    assert (read.name, read.steps, dict(read.layers)) == ("mine", recipe.steps, {"a.b": "int6"})
    assert read.stores == ("int6",)
    entry = RecipeEntry(name="mine", passes=recipe.steps, layers={"a.b": "int6"})
    assert recipes.of_manifest(entry).key == recipe.key


def test_a_recipe_file_with_an_unknown_pass_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.recipe.json"
    path.write_text(json.dumps({"name": "x", "passes": ["weights-int5"], "layers": {}}))
    with pytest.raises(UnknownName, match="weights-int5"):
        recipes.find(str(path))


def test_recipes_of_other_layers_have_other_keys() -> None:
    one, other = (
        recipes.Recipe("mine", ("weights-mixed",), layers={"a": kind}) for kind in ("int8", "int4")
    )
    assert one.key != other.key
