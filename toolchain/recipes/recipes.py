"""Sequences of passes: named ones, and those that a user writes.

A step is a pass and, after `=`, its option: `weights-int4=32`, `palettize=4`; after slashes may
come words: `palettize=4/sensitive`. A recipe is steps with commas between them, or a name: `fp32`,
`fp16`, `uint16`, `uint8` and `int8` are named after the numbers that they store, `small`,
`smallest` and `fast` after what they are for. A file of `mlship shrink` is a recipe, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from model_defs.errors import BadRecipe, UnknownName
from toolchain.passes import ACTIVATIONS, EXACT, NEAR, OPTIONS, PASSES, STORES, stored_by

if TYPE_CHECKING:
    from model_defs.spec import ModelSpec
    from toolchain.passes import Pass

FOLD = "fold-batchnorm"
"""What every recipe begins with."""


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
    def exact(self) -> bool:
        """Whether its outputs are held to float32's rounding, not to the model's tolerance."""
        return set(self.passes) <= EXACT

    @property
    def lossy(self) -> bool:
        """Whether a file is compared with PyTorch after the passes, not with the model.

        What passes such as pruning change is more than a tolerance: it is judged by the metric.
        """
        return not set(self.passes) <= EXACT | NEAR

    @property
    def integer(self) -> bool:
        """Whether a target is to compute in integers, not only to store them."""
        return any(stored.endswith(ACTIVATIONS) for stored in self.stores)

    @property
    def stores(self) -> tuple[str, ...]:
        """The types that its numbers need of a target."""
        mixed = dict.fromkeys(self.layers.values())
        return tuple(filter(None, [*map(stored_by, self.steps), *mixed]))

    @property
    def key(self) -> str:
        """What tells it from other recipes, whatever they are called."""
        how = [dict(self.layers), sorted(self.keep), self.pruned]
        return json.dumps([self.name, self.steps, *how])

    def weights_of(self, spec: ModelSpec, given: Path | None = None) -> Path | None:
        """The file that a build takes: the given one, or what the model has for this recipe.

        BadRecipe where the recipe ships fewer channels and the model has no such weights.
        """
        if given is not None or not self.pruned:
            return given or spec.weights
        if spec.pruned is None and self.pruned == "preferred":
            return spec.weights
        if spec.pruned is None:
            raise BadRecipe(
                f"recipe {self.name}: {spec.name} has no weights with fewer channels",
                do=f"mlship prune {spec.name}, then build with --weights",
            )
        return spec.pruned

    def load(self) -> tuple[Pass, ...]:
        """The passes themselves; imports torch."""
        return tuple(self._loaded(step) for step in self.steps)

    def _loaded(self, step: str) -> Pass:
        name, _, value = step.partition("=")
        module, attribute = PASSES[name].split(":")
        kind = getattr(import_module(module), attribute)
        options: dict[str, Any] = {}
        if self.keep and (name in STORES or name == MIXED):
            options["keep"] = tuple(self.keep)
        if name == MIXED:
            options["layers"] = tuple(self.layers.items())
        if value:
            options |= OPTIONS[name].read(value)
        made: Pass = kind(**options)
        return made


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("fp32", (FOLD,)),
        Recipe("fp16", (FOLD, "weights-fp16")),
        Recipe("uint16", (FOLD, "weights-uint16")),
        Recipe("uint8", (FOLD, "weights-uint8")),
        Recipe("small", (FOLD, "weights-int8", "weights-fp16")),
        Recipe("int8", (FOLD, "int8", "weights-fp16")),
        Recipe("fast", (FOLD, "weights-fp16"), pruned="required"),
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
        name, equals, value = step.partition("=")
        if name not in PASSES:
            raise _unknown(text, name)
        if equals or name in OPTIONS or name == MIXED:
            _check_option(name, value, given=bool(equals))
    if len(set(steps)) < len(steps):
        raise BadRecipe(f"recipe {text}: a step stands twice", do="write each once")
    _check_order(text, steps)
    return Recipe(text, steps if steps[0] == FOLD else (FOLD, *steps))


def _check_order(text: str, steps: Sequence[str]) -> None:
    """Kernels are stored once: after that only what is not one is left, for float16.

    `int8` leaves some as they are, which another step may store.
    """
    storing = [step for step in steps if step.partition("=")[0] in STORES]
    for before, after in pairwise(storing):
        if not stored_by(before).endswith(ACTIVATIONS) and after.partition("=")[0] not in NEAR:
            raise BadRecipe(
                f"recipe {text}: {before} stores every kernel, so {after} would do nothing",
                do="write one of them; weights-fp16 may follow, for the rest",
            )


def _unknown(text: str, name: str) -> UnknownName:
    if "," in text or "=" in text:
        return UnknownName.among("pass", name, PASSES)
    return UnknownName.among("recipe", text, [*RECIPES, *PASSES])


def _check_option(name: str, value: str, *, given: bool) -> None:
    option = OPTIONS.get(name)
    if name == MIXED:
        raise BadRecipe(f"{MIXED} needs layers", do="pass the file that mlship shrink wrote")
    if option is None:
        raise BadRecipe(f"pass {name} takes no option", do=f"write {name}")
    if not given and option.optional:
        return
    try:
        option.read(value)
    except ValueError as error:
        raise BadRecipe(f"{name}={value}: {error}", do=f"write {option.example}") from None


def of_manifest(recipe: Mapping[str, Any]) -> Recipe:
    """The recipe that a bundle's manifest says it was built with."""
    layers, keep = recipe.get("layers", {}), recipe.get("keep", {})
    pruned: Pruned = "required" if recipe.get("pruned") else ""
    steps = tuple(recipe["passes"])
    return Recipe(str(recipe["name"]), steps, layers=layers, keep=keep, pruned=pruned)


def read(path: Path) -> Recipe:
    """The recipe in a file that `mlship shrink` wrote; BadRecipe for any other."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        steps, layers = tuple(map(str, data["passes"])), dict(data["layers"])
        name = str(data["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRecipe(
            f"the recipe cannot be read: {error}", where=str(path), do="run mlship shrink again"
        ) from None
    for step in steps:
        if step.partition("=")[0] not in PASSES:
            raise UnknownName.among("pass", step, PASSES)
    return Recipe(name, steps, layers=layers)


def text_of(recipe: Recipe) -> str:
    """What a file holds for `read`."""
    data = {"name": recipe.name, "passes": list(recipe.steps), "layers": dict(recipe.layers)}
    return json.dumps(data, indent=1) + "\n"
