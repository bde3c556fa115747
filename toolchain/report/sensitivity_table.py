"""What `mlship sensitivity` prints."""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.recipes.recipes import Recipe
from toolchain.recipes.sensitivity import LayerSensitivity
from toolchain.report import terminal


def show(model: str, recipe: Recipe, ranked: Sequence[LayerSensitivity]) -> None:
    """A row a layer."""
    heads = ("error / tolerance", "metric lost", "bytes", "in float16")
    made = terminal.table(
        f"{model}, recipe {recipe.name}: one layer at a time", "layer", *heads, "worst", right=heads
    )
    for one in ranked:
        lost = "-" if one.drop is None else f"{one.drop:.2%}"
        made.add_row(
            one.layer, f"{one.share:.3f}", lost, f"{one.bytes:,}", f"{one.plain:,}", one.where
        )
    terminal.show(made)
