"""Named sequences of passes.

A recipe is named after the numbers that it stores: `fp32`, `fp16`, `uint16`, `uint8`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from model_defs.errors import UnknownName

if TYPE_CHECKING:
    from toolchain.passes import Pass


@dataclass(frozen=True)
class Recipe:
    """Pass names in order. An `exact` one is held to float32 rounding, not to the tolerance.

    `stores` is the narrowest type that its numbers need of a target.
    """

    name: str
    passes: tuple[str, ...]
    stores: str
    exact: bool = False

    def load(self) -> tuple[Pass, ...]:
        """The passes themselves; imports torch."""
        from toolchain.passes import PASSES

        loaded = []
        for name in self.passes:
            module, attribute = PASSES[name].split(":")
            loaded.append(getattr(import_module(module), attribute)())
        return tuple(loaded)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("fp32", ("fold-batchnorm",), "float32", exact=True),
        Recipe("fp16", ("fold-batchnorm", "weights-fp16"), "float16"),
        Recipe("uint16", ("fold-batchnorm", "weights-uint16"), "uint16"),
        Recipe("uint8", ("fold-batchnorm", "weights-uint8"), "uint8"),
    )
}
DEFAULT = "fp16"


def find(name: str) -> Recipe:
    """The recipe of that name; UnknownName lists those that there are."""
    if name not in RECIPES:
        raise UnknownName.among("recipe", name, RECIPES)
    return RECIPES[name]
