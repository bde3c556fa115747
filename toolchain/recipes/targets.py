"""The platforms that a bundle is built for."""

from __future__ import annotations

from dataclasses import dataclass

from converters.format import ACTIVATIONS, BLOCKS, Format
from converters.formats import FORMATS
from converters.lowering import DEFAULT_VIA, Via
from model_defs.errors import UnknownName, UnsupportedOption
from toolchain import passes
from toolchain.bundle.compute import Compute
from toolchain.passes import PASSES
from toolchain.recipes.recipes import RECIPES, Recipe

"""Where an app lets Core ML compute: GPU is Metal, NE the Neural Engine."""
DEFAULT_COMPUTE: Compute = "all"


@dataclass(frozen=True)
class Target:
    """A platform that bundles are built for, and the record of what its artifacts are."""

    name: str
    made: Format

    @property
    def format(self) -> str:
        """The name of the format."""
        return self.made.name


TARGETS = {format.target: Target(format.target, format) for format in FORMATS.values()}


def find(names: tuple[str, ...]) -> tuple[Target, ...]:
    """The targets of those names, in table order; `all` is every one."""
    for name in names:
        if name not in TARGETS and name != "all":
            raise UnknownName.among("target", name, [*TARGETS, "all"])
    return tuple(t for t in TARGETS.values() if t.name in names or "all" in names)


def check_via(chosen: tuple[Target, ...], via: Via) -> None:
    """UnsupportedOption where onnx2tf is asked for a target whose files it does not write."""
    for target in chosen:
        if via != DEFAULT_VIA and via not in target.made.vias:
            others = [f"--target {t.name}" for t in TARGETS.values() if via in t.made.vias]
            raise UnsupportedOption(
                f"{via} does not write {target.format}", do=f"use {' or '.join(others)}"
            )


def check_recipe(chosen: tuple[Target, ...], recipe: Recipe) -> None:
    """UnsupportedOption where a target cannot store a recipe's numbers; names one that it can."""
    for target in chosen:
        for dtype in recipe.on(target.name).stores:
            if dtype not in target.made.holds:
                able = [t.name for t in TARGETS.values() if dtype in t.made.holds]
                lacks = f"does not store {dtype} weights"
                if dtype.endswith(ACTIVATIONS):
                    lacks = f"does not compute in {dtype.removesuffix(ACTIVATIONS)}"
                raise UnsupportedOption(
                    f"recipe {recipe.name}: {target.format} {lacks}",
                    where=f"target {target.name}",
                    do=f"use --recipe {nearest(dtype, target)}, the nearest that it stores, "
                    f"or --target {able[0]}",
                )


def nearest(dtype: str, target: Target) -> str:
    """The recipe whose numbers come next in width to a type that a target does not store."""
    from converters.encodings import BITS

    least = BITS[dtype.removesuffix(BLOCKS).removesuffix(ACTIVATIONS)]
    wider = [t for t in target.made.stores if t in BITS and BITS[t] >= least]
    found = min(wider, key=lambda t: (BITS[t], t[:3] != dtype[:3]))
    named = [recipe.name for recipe in RECIPES.values() if recipe.stores == (found,)]
    steps = (step for name in PASSES for step in passes.steps_of(name))
    return named[0] if named else next(s for s in steps if passes.make(s).stores == (found,))


def check_compute(chosen: tuple[Target, ...], compute: Compute) -> None:
    """UnsupportedOption where compute units are asked for and no target has them."""
    if compute != DEFAULT_COMPUTE and not any(t.made.compute_units for t in chosen):
        raise UnsupportedOption(f"--compute {compute} is of Core ML", do="use --target ios")
