"""Transformations of a program, one a file; `PASSES` is the only list of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from model_defs.errors import BadRecipe, UnknownName
from toolchain.passes.base import Pass

PASSES: dict[str, str] = {
    "fold-batchnorm": "toolchain.passes.fold_batchnorm:FoldBatchnorm",
    "fold-scales": "toolchain.passes.fold_scales:FoldScales",
    "equalize": "toolchain.passes.equalize:Equalize",
    "prune-channels": "toolchain.passes.prune_channels:PruneChannels",
    "prune-weights": "toolchain.passes.prune_weights:PruneWeights",
    "int8": "toolchain.passes.int8:Int8",
    "weights-fp16": "toolchain.passes.weights_fp16:WeightsFp16",
    "weights-int8": "toolchain.passes.weights_int8:WeightsInt8",
    "weights-int6": "toolchain.passes.weights_int6:WeightsInt6",
    "weights-int4": "toolchain.passes.weights_int4:WeightsInt4",
    "palettize": "toolchain.passes.palettize:Palettize",
    "weights-mixed": "toolchain.passes.weights_mixed:WeightsMixed",
    "weights-uint16": "toolchain.passes.weights_uint16:WeightsUint16",
    "weights-uint8": "toolchain.passes.weights_uint8:WeightsUint8",
}


def find(name: str) -> type[Pass]:
    """The pass of that name; UnknownName lists what there is."""
    if name not in PASSES:
        raise UnknownName.among("pass", name, PASSES)
    module, attribute = PASSES[name].split(":")
    kind: type[Pass] = getattr(import_module(module), attribute)
    return kind


def make(step: str, **fields: Any) -> Pass:
    """The pass that a step such as `weights-int4=32` asks for, with these fields set, too.

    UnknownName for a pass that there is not, BadRecipe for an option that is not one.
    """
    name, equals, written = step.partition("=")
    kind = find(name)
    option = kind.option
    if option is None and equals:
        raise BadRecipe(f"pass {name} takes no option", do=f"write {name}")
    if option is None or (option.optional and not equals):
        return kind(**fields)
    try:
        read = option.read(written)
    except ValueError as error:
        raise BadRecipe(f"{name}={written}: {error}", do=f"write {option.example}") from None
    return kind(**read, **fields)


def steps_of(name: str) -> list[str]:
    """How a recipe may write a pass: without an option, and with each choice of it."""
    option = find(name).option
    if option is None:
        return [name]
    plain = [name] if option.optional else []
    return [*plain, *(f"{name}={choice}" for choice in option.choices)]
