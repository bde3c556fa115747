"""`mlship sensitivity`: what a model loses where a recipe rounds one layer of it alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from converters.capture import capture
from model_defs import lookup
from model_defs.errors import RecipeMismatch
from toolchain.data import sequences
from toolchain.data.trunks import Trunks
from toolchain.evaluation.score import find_scorer
from toolchain.parity.metrics import used
from toolchain.recipes.recipes import Recipe
from toolchain.recipes.sensitivity import Judge, LayerSensitivity, measure

if TYPE_CHECKING:
    from converters.progress import Say


def measure_model(
    name: str, recipe: Recipe, weights: Path | None, scenes: int, say: Say
) -> list[LayerSensitivity]:
    """The same of all layers, the most sensitive first."""
    found = measure_layers(name, recipe, weights, scenes, say)
    return sorted(found, key=lambda one: -one.share)


def measure_layers(
    name: str,
    recipe: Recipe,
    weights: Path | None,
    scenes: int,
    say: Say,
    only: slice = slice(None),
) -> list[LayerSensitivity]:
    """The sensitivity of a model's layers on the cases of a build, and on `scenes`, if any.

    Raises RecipeMismatch for a recipe that rounds nothing, and what capturing raises.
    """
    if recipe.exact:
        raise RecipeMismatch(
            f"recipe {recipe.name} rounds nothing", do="use --recipe fp16, small ..."
        )
    (name,) = lookup.expand(name)
    spec = lookup.load(name)
    program = capture(spec, recipe.weights_of(spec, weights))
    judge = Judge(*sequences.unrolled(program, Trunks.of(spec).build_cases()), share=used)
    dropped = None
    if scenes:
        scorer = find_scorer(program, scenes)
        base = scorer.score(program)
        dropped = lambda other: base.drop(scorer.score(other))  # noqa: E731
    what = program.spec.name
    ranked = measure(
        program, recipe, judge, lambda n, of: say(what, f"layer {n + 1} of {of}"), dropped, only
    )
    say(what, "")
    return ranked
