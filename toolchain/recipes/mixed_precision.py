"""Mixed precision: the layers that float16 does harm to stay in float32, and are named."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from toolchain.recipes import sensitivity
from toolchain.recipes.sensitivity import Judge, LayerListener, LayerSensitivity

if TYPE_CHECKING:
    from converters.api import Program
    from converters.graph.captured import GraphCall
    from toolchain.recipes.recipes import Recipe

SHARES = (0.5, 0.25, 0.1)
"""What rounding may use up of the tolerances, at each attempt."""

HALF = "weights-fp16"
"""The step after which Core ML computes in float16."""

LARGEST = 65504.0 / 2
"""The activation that is too near to float16's end."""


def may_mix(recipe: Recipe, failed: Collection[str]) -> bool:
    """Whether it may be rounding that these cases failed of, and something is left to try."""
    rounds = HALF in recipe.passes if recipe.lossy else not recipe.exact
    return rounds and not recipe.integer and bool(failed) and recipe.attempt < len(SHARES)


def mix(
    recipe: Recipe,
    captured: Program,
    shipped: Program,
    judge: Judge,
    failed: Collection[str],
    report: LayerListener = lambda done, total: None,
) -> Recipe:
    """The recipe that keeps the fewest layers in float32 with which the failed cases would pass.

    The same layers as before where none is left to try. Those whose activations overflow come
    first; the others by what rounding them alone does to the outputs. A lossy recipe is held to its
    own numbers, as shipped: of it only float16 is judged.
    """
    program, rounding = captured, replace(recipe, keep={})
    if recipe.lossy:
        program, rounding = replace(shipped, encodings={}), replace(rounding, steps=(HALF,))
    judge = sensitivity.select_cases(judge, [case for case in judge.cases if case in failed])
    # Overflow is seen in float32 runs: in float16 all behind it is infinite, and no layer stands
    # out.
    overflow = find_overflowing(program, judge)
    ranked = [
        one
        for one in sensitivity.measure(program, rounding, judge, report)
        if one.layer not in overflow
    ]
    first = [LayerSensitivity(layer, float("inf"), "", 0, 0) for layer in overflow]
    found = recipe
    while found.attempt < len(SHARES) and found.keep.keys() == recipe.keep.keys():
        goal = SHARES[found.attempt]
        kept = sensitivity.choose_kept(program, rounding, judge, [*first, *ranked], goal)
        found = replace(found, keep={**kept, **overflow}, attempt=found.attempt + 1)
    return found


def find_overflowing(program: Program, judge: Judge) -> Mapping[str, str]:
    """The layers that read or write activations near float16's end, and how large these are."""
    import torch

    from converters.graph.sources import module_of
    from converters.program_graph import watch

    layers = frozenset(sensitivity.list_layers(program))
    peaks: dict[str, float] = {}

    def seen(call: GraphCall) -> Any:
        name = module_of(call.node)
        if name in layers:
            read = zip(call.node.args, call.args, strict=True)
            made = [x for node, x in read if not _is_constant(node)]
            tensors = [t for t in (*made, call.result) if isinstance(t, torch.Tensor)]
            found = (float(t.abs().max()) for t in tensors if t.numel() and t.is_floating_point())
            peaks[name] = max([peaks.get(name, 0.0), *found])
        return call.result

    for inputs in judge.cases.values():
        watch(program, inputs, seen)
    return {
        name: f"its activations reach {peak:.3g}, float16 ends at 65504"
        for name, peak in peaks.items()
        if peak > LARGEST
    }


def _is_constant(node: Any) -> bool:
    return getattr(node, "op", "") == "get_attr"
