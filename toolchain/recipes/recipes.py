"""Sequences of passes: named ones, and those that a user writes.

A step is a pass and, after `=`, its option: `weights-int4=32`, `palettize=4`; after slashes may
come words: `palettize=4/sensitive`. A recipe is steps with commas between them, or a name: `fp32`,
`fp16`, `uint16`, `uint8` and `int8` are named after the numbers that they store, `small`,
`smallest` and `fast` after what they are for. A file of `mlship shrink` is a recipe, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from converters.format import ACTIVATIONS
from model_defs.errors import BadRecipe, RecipeMismatch, UnknownName
from toolchain import passes
from toolchain.passes import PASSES

if TYPE_CHECKING:
    from model_defs.spec import ModelSpec
    from toolchain.bundle.manifest import RecipeEntry
    from toolchain.passes.base import Pass

FOLD = "fold-batchnorm"
"""What every recipe begins with."""
SCALES = "fold-scales"
"""What those begin with, too, that round no layer to a grid of its own."""


Pruned = Literal["", "preferred", "required"]


@dataclass(frozen=True)
class Recipe:
    """Steps in order; `others` are those of targets that need others.

    `layers` says what `weights-mixed` makes of which layer. `keep` are layers whose parameters no
    step may round, and why; `attempt` counts how often some were added. A `pruned` recipe ships
    the model's weights that have fewer channels: "required", or "preferred" if it has some.
    """

    name: str
    steps: tuple[str, ...]
    others: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    layers: Mapping[str, str] = field(default_factory=dict, hash=False)
    keep: Mapping[str, str] = field(default_factory=dict, hash=False)
    pruned: Pruned = ""
    attempt: int = 0

    def on(self, target: str) -> Recipe:
        """The recipe as it is for a target."""
        return replace(self, steps=self.others.get(target, self.steps), others={})

    @property
    def passes(self) -> tuple[str, ...]:
        """The names of the passes."""
        return tuple(step.partition("=")[0] for step in self.steps)

    @property
    def kinds(self) -> tuple[type[Pass], ...]:
        """The classes of the passes, which know all about them."""
        return tuple(map(passes.find, self.passes))

    @property
    def exact(self) -> bool:
        """Whether its outputs are held to float32's rounding, not to the model's tolerance."""
        return all(kind.exact for kind in self.kinds)

    @property
    def prunes(self) -> bool:
        """Whether a pass of it makes another net."""
        return any(kind.prunes for kind in self.kinds)

    @property
    def lossy(self) -> bool:
        """Whether a file is compared with PyTorch after the passes, not with the model.

        What passes such as pruning change is more than a tolerance: it is judged by the metric.
        """
        return not all(kind.exact or kind.near for kind in self.kinds)

    @property
    def integer(self) -> bool:
        """Whether a target is to compute in integers, not only to store them."""
        return any(stored.endswith(ACTIVATIONS) for stored in self.stores)

    @property
    def stores(self) -> tuple[str, ...]:
        """The types that its numbers need of a target."""
        return tuple(dtype for step in self.load() for dtype in step.stores)

    @property
    def key(self) -> str:
        """What tells it from other recipes, whatever they are called."""
        how = [dict(self.layers), sorted(self.keep), self.pruned]
        return json.dumps([self.name, self.steps, *how])

    def weights_of(self, spec: ModelSpec, given: Path | None = None) -> Path | None:
        """The file that a build takes: the given one, or what the model has for this recipe.

        RecipeMismatch where the recipe ships fewer channels and the model has no such weights.
        """
        if given is not None or not self.pruned:
            return given or spec.weights
        if spec.pruned is None and self.pruned == "preferred":
            return spec.weights
        if spec.pruned is None:
            raise RecipeMismatch(
                f"recipe {self.name}: {spec.name} has no weights with fewer channels",
                do=f"mlship prune {spec.name}, then build with --weights",
            )
        return spec.pruned

    def load(self) -> tuple[Pass, ...]:
        """The passes themselves."""
        return tuple(map(self._made, self.steps))

    def _made(self, step: str) -> Pass:
        """The pass of a step, told of the layers that it leaves alone or knows types for."""
        name = step.partition("=")[0]
        own = {each.name for each in fields(passes.find(name))}  # type: ignore[arg-type]
        given = {"keep": tuple(self.keep), "layers": tuple(self.layers.items())}
        if name != MIXED:
            del given["layers"]
        return passes.make(step, **{key: given[key] for key in given.keys() & own})


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("fp32", (FOLD, SCALES)),
        Recipe("fp16", (FOLD, SCALES, "weights-fp16")),
        Recipe("uint16", (FOLD, "weights-uint16")),
        Recipe("uint8", (FOLD, "weights-uint8")),
        Recipe("small", (FOLD, "weights-int8=smaller", "weights-fp16")),
        Recipe("int8", (FOLD, "int8", "weights-fp16")),
        Recipe("fast", (FOLD, SCALES, "weights-fp16"), pruned="required"),
        Recipe(
            "smallest",
            (FOLD, "weights-int4", "weights-fp16"),
            {"ios": (FOLD, "palettize=4", "weights-fp16")},
            pruned="preferred",
        ),
    )
}
DEFAULT = "fp16"
MIXED = "weights-mixed"


def find(text: str) -> Recipe:
    """The recipe of that name, or of those steps.

    UnknownName lists what there is; BadRecipe names a step whose option is not one, or a file
    that is no recipe.
    """
    if text in RECIPES:
        return RECIPES[text]
    if text.endswith(".json"):
        return read(Path(text))
    steps = tuple(step.strip() for step in text.split(","))
    for step in steps:
        name = step.partition("=")[0]
        if name not in PASSES:
            raise _unknown(text, name)
        if name == MIXED:
            raise BadRecipe(f"{MIXED} needs layers", do="pass the file that mlship shrink wrote")
    if len(set(steps)) < len(steps):
        raise BadRecipe(f"recipe {text}: a step stands twice", do="write each once")
    _check_order({step: passes.make(step) for step in steps})
    return Recipe(text, steps if steps[0] == FOLD else (FOLD, *steps))


def _check_order(steps: Mapping[str, Pass]) -> None:
    """Kernels are stored once: after that only what is not one is left, for float16.

    `int8` leaves some as they are, which another step may store.
    """
    storing = {step: made for step, made in steps.items() if made.stores}
    for (before, first), (after, second) in pairwise(storing.items()):
        if not first.stores[0].endswith(ACTIVATIONS) and not second.near:
            raise BadRecipe(
                f"recipe {','.join(steps)}: {before} stores every kernel, "
                f"so {after} would do nothing",
                do="write one of them; weights-fp16 may follow, for the rest",
            )


def _unknown(text: str, name: str) -> UnknownName:
    if "," in text or "=" in text:
        return UnknownName.among("pass", name, PASSES)
    return UnknownName.among("recipe", text, [*RECIPES, *PASSES])


def of_manifest(recipe: RecipeEntry) -> Recipe:
    """The recipe that a bundle's manifest says it was built with; UnknownName for a pass."""
    _check_passes(recipe.passes)
    pruned: Pruned = "required" if recipe.pruned else ""
    return Recipe(recipe.name, recipe.passes, layers=recipe.layers, keep=recipe.keep, pruned=pruned)


def read(path: Path) -> Recipe:
    """The recipe in a file that `mlship shrink` wrote; BadRecipe for any other."""
    from toolchain.recipes import recipe_file

    found = recipe_file.read(path)
    _check_passes(found.passes)
    return Recipe(found.name, found.passes, layers=found.layers)


def _check_passes(steps: Iterable[str]) -> None:
    for step in steps:
        if step.partition("=")[0] not in PASSES:
            raise UnknownName.among("pass", step, PASSES)


def text_of(recipe: Recipe) -> str:
    """What a file holds for `read`."""
    from toolchain.recipes import recipe_file

    layers = dict(recipe.layers)
    file = recipe_file.RecipeFile(name=recipe.name, passes=recipe.steps, layers=layers)
    return recipe_file.text_of(file)
