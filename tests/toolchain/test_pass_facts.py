"""What a pass says of itself, held against what it does; recipes are read from that alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import pytest
import torch
from torch import nn

from converters.api import Program
from converters.capture import capture, example
from converters.format import ACTIVATIONS, BLOCKS
from model_defs.errors import BadRecipe
from model_defs.spec import ModelSpec, TensorSpec
from tests.toolchain.test_fold_scales import Scaled
from toolchain import passes
from toolchain.passes import PASSES
from toolchain.passes.base import Option, Pass
from toolchain.passes.fold_batchnorm import FoldBatchnorm
from toolchain.passes.prune_weights import PruneWeights
from toolchain.passes.weights_fp16 import WeightsFp16
from toolchain.passes.weights_int4 import WeightsInt4
from toolchain.passes.weights_int8 import WeightsInt8
from toolchain.passes.weights_mixed import WeightsMixed
from toolchain.quantization.activations import OnGrids
from toolchain.quantization.ranges import RANGES
from toolchain.recipes import recipes
from toolchain.recipes.pipeline import DRIFT
from toolchain.recipes.recipes import Recipe

KERNEL = "2"
"""The layer of the net below whose kernel is large enough for every grid."""


@cache
def net() -> Program:
    """Every pass finds something to do in it."""
    torch.manual_seed(5)
    layers = [nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.BatchNorm2d(64), nn.ReLU()]
    module = nn.Sequential(*layers, Scaled(nn.Conv2d(64, 3, 1), 3, 1, 1)).eval()
    module[0].weight.data[::2] *= 8  # type: ignore[operator,union-attr]
    module[3].running_var.fill_(0.3)  # type: ignore[operator,union-attr]
    module[5].scale.data.fill_(0.7)  # type: ignore[operator,union-attr]
    spec = ModelSpec(
        "tiny",
        lambda: module,
        (TensorSpec("x", (1, 3, 24, 24), "image", low=0, high=1),),
        (TensorSpec("y", (1, 3, 20, 20), "map", tolerance=0.1),),
    )
    return capture(spec)


@cache
def moved(step: Pass) -> float:
    """How far a pass moves the outputs, as a share of the largest."""
    program = FoldBatchnorm()(net())
    program = net() if step.exact else program
    before = program.module(*example(program.spec))
    after = step(program).module(*example(program.spec))
    return float((after - before).abs().max() / before.abs().max())


def stored(program: Program) -> tuple[str, ...]:
    """The type in which the large kernel is to be stored."""
    found = program.encodings.get(f"{KERNEL}.weight")
    if found is None:
        return ()
    if isinstance(program.module, OnGrids):
        return (found.dtype + ACTIVATIONS,)
    return (found.dtype + BLOCKS * bool(found.block),)


def zeros(program: Program) -> int:
    return sum(int((p == 0).sum()) for p in program.module.parameters())


def numbers(program: Program) -> int:
    return sum(p.numel() for p in program.module.parameters())


def untrue(step: Pass) -> list[str]:
    """What a pass says of itself, and is not so."""
    after = step(net())
    far, half = moved(step), 2 * moved(WeightsFp16())
    sparser = zeros(after) > 0.25 * numbers(after) or numbers(after) < 0.95 * numbers(net())
    wrong = {
        "exact is not said": "exact" not in vars(type(step)),
        "it is not exact": step.exact and far > DRIFT,
        "it is exact, or near, by another name": far < half and not (step.exact or step.near),
        "it is not near": step.near and far > half,
        "prunes": step.prunes != sparser,
        "stores": step.stores != stored(after),
        "it did nothing": after is net(),
    }
    return [what for what, is_so in wrong.items() if is_so]


def examples_of(name: str) -> list[Pass]:
    if name == WeightsMixed.name:
        return [WeightsMixed(((KERNEL, "int6"),))]
    option = passes.find(name).option
    # "taylor" would ask for a training task, which this net has not
    asked = option.example.replace("taylor", "hessian").split(" or ") if option else []
    return [passes.make(step) for step in dict.fromkeys([*asked, *passes.steps_of(name)])]


@pytest.mark.parametrize("name", PASSES)
def test_what_a_pass_says_of_itself_is_so(name: str) -> None:
    assert {str(step): untrue(step) for step in examples_of(name) if untrue(step)} == {}


class Near(WeightsInt8):
    exact: ClassVar[bool] = False
    near: ClassVar[bool] = True


class Exact(WeightsFp16):
    exact: ClassVar[bool] = True
    near: ClassVar[bool] = False


class ForgotItsExactness(FoldBatchnorm):
    exact: ClassVar[bool] = False


class ForgotThatItIsNear(WeightsFp16):
    exact: ClassVar[bool] = False
    near: ClassVar[bool] = False


class SaysNothing(WeightsInt8):
    """Inherits it, so that nobody has thought of it."""


class ForgotToPrune(PruneWeights):
    exact: ClassVar[bool] = False
    prunes: ClassVar[bool] = False


class ForgotToStore(WeightsInt8):
    exact: ClassVar[bool] = False
    stores = ()  # type: ignore[assignment]


class ForgotItsBlocks(WeightsInt4):
    exact: ClassVar[bool] = False
    stores = ("int4",)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("liar", "said"),
    [
        (Near(), "it is not near"),
        (Exact(), "it is not exact"),
        (ForgotItsExactness(), "it is exact, or near, by another name"),
        (ForgotThatItIsNear(), "it is exact, or near, by another name"),
        (SaysNothing(), "exact is not said"),
        (ForgotToPrune(), "prunes"),
        (ForgotToStore(), "stores"),
        (ForgotItsBlocks(block=32), "stores"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Pass) else "",
)
def test_a_fact_that_is_forgotten_or_untrue_is_found(liar: Pass, said: str) -> None:
    assert untrue(liar) == [said]


@dataclass(frozen=True)
class Toy(Pass):
    name: ClassVar[str] = "toy"
    exact: ClassVar[bool] = True
    option: ClassVar[Option] = Option("turns", (1, 2), example="toy=2")

    turns: int = 1

    def __call__(self, program: Program) -> Program:
        return program


def test_a_class_and_its_row_are_all_that_a_recipe_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "toy", f"{__name__}:Toy")
    recipe = recipes.find("toy=2")
    assert recipe.load()[-1] == Toy(2)
    assert recipe.exact
    assert not recipe.lossy
    assert not recipe.prunes
    assert recipe.stores == ()
    with pytest.raises(BadRecipe, match="turns is one of 1, 2"):
        recipes.find("toy=3")


@pytest.mark.parametrize(
    ("text", "exact", "lossy", "prunes"),
    [
        ("equalize", True, False, False),
        ("equalize,weights-fp16", False, False, False),
        ("prune-weights=0.5", False, True, True),
        ("weights-int8,weights-fp16", False, True, False),
    ],
)
def test_a_recipe_is_what_its_passes_are(text: str, exact: bool, lossy: bool, prunes: bool) -> None:
    recipe = recipes.find(text)
    assert (recipe.exact, recipe.lossy, recipe.prunes) == (exact, lossy, prunes)


def test_a_layer_that_is_kept_is_told_to_all_that_store() -> None:
    recipe = Recipe("mine", ("fold-batchnorm", "weights-int8", "weights-fp16"), keep={"a": ""})
    assert [getattr(step, "keep", None) for step in recipe.load()] == [None, ("a",), ("a",)]


def test_the_ranges_that_int8_may_be_given_are_all_that_there_are() -> None:
    option = passes.find("int8").option
    assert option is not None
    assert set(option.choices) == RANGES.keys()


def test_recipes_are_read_without_torch() -> None:
    code = (
        "import sys\n"
        "from toolchain.passes import PASSES, steps_of\n"
        "from toolchain.recipes import recipes, targets\n"
        "steps = [s for n in PASSES if n != recipes.MIXED for s in steps_of(n)]\n"
        "found = [recipes.find(text) for text in [*recipes.RECIPES, *steps]]\n"
        "facts = [(r.exact, r.lossy, r.integer, r.stores, r.load()) for r in found]\n"
        "targets.check_recipe(targets.find(('all',)), recipes.find('small'))\n"
        "print(len(facts), {'torch', 'numpy', 'tensorflow', 'coremltools'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, loaded = run.stdout.split(maxsplit=1)
    assert int(count) > len(PASSES)
    assert loaded.strip() == "set()"
