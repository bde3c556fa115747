"""Mixed precision: the layers that float16 does harm to stay in float32, and are named.

What float16 does is computed in PyTorch (`half_run`): no file is converted to find out. What is
chosen is then built, and its file proved as any other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from toolchain.recipes import sensitivity
from toolchain.recipes.sensitivity import Judge, LayerListener, LayerSensitivity

if TYPE_CHECKING:
    from converters.api import Program
    from converters.graph.captured import GraphCall
    from toolchain.recipes.half_run import HalfRun, Values
    from toolchain.recipes.recipes import Recipe

SHARES = (0.9, 0.6, 0.2)
"""What rounding may use up of the tolerances, at each attempt.

A file is as far off as was computed, to a few percent, where its operations are the graph's; a
converter may write several for one, each of which rounds.
"""

HALF = "weights-fp16"
"""The step after which Core ML computes in float16."""

LARGEST = 65504.0 / 2
"""The activation that is too near to float16's end."""

PIECES = 64
"""Runs of layers that are weighed at first, each in float16 alone."""
RUNS = 160
"""How many are weighed in all, those that were split again included."""
REST = 0.05
"""The share of all error that may lie in runs of several layers: these are not split again."""


def may_mix(recipe: Recipe, failed: Collection[str]) -> bool:
    """Whether it may be rounding that these cases failed of, and something is left to try."""
    rounds = HALF in recipe.passes if recipe.lossy else not recipe.exact
    return rounds and not recipe.integer and bool(failed) and recipe.attempt < len(SHARES)


def mix(
    recipe: Recipe,
    captured: Program,
    judge: Judge,
    failed: Collection[str],
    *,
    arithmetic: bool,
    report: LayerListener = lambda done, total: None,
) -> Recipe:
    """The recipe that keeps the fewest layers in float32 with which the failed cases would pass.

    The same layers as before where none is left to try. Those whose activations overflow come
    first; the others by what float16 in them alone does to the outputs: to their numbers, and
    with `arithmetic` to all that they compute. A lossy recipe is held to its own numbers: of it
    only float16 is judged.
    """
    from toolchain.recipes.half_run import HalfRun

    judge = sensitivity.select_cases(judge, [case for case in judge.cases if case in failed])
    program = _before_halves(recipe, captured)
    if recipe.lossy:
        judge = judge.held_to(program)
    run = HalfRun(program, arithmetic)
    # Overflow is seen in float32 runs: in float16 all behind it is infinite, and no layer stands
    # out.
    overflow = find_overflowing(program, judge)
    worst = _worst_case(run, judge)
    weighed = _Weighing(run, judge, worst, report).ranked()
    ranked = [one for one in weighed if one.layer not in overflow]
    found = recipe
    while found.attempt < len(SHARES) and found.keep.keys() == recipe.keep.keys():
        kept = _fewest(run, judge, [*overflow], ranked, SHARES[found.attempt])
        reasons = {one.layer: sensitivity.explain(one) for one in kept}
        found = replace(found, keep={**reasons, **overflow}, attempt=found.attempt + 1)
    return found


def _before_halves(recipe: Recipe, captured: Program) -> Program:
    """What the steps of a recipe before float16 make of a program; of a recipe that is not lossy,
    the exact ones alone: float16 is all that it rounds to.
    """
    program = captured
    for step in replace(recipe, keep={}).load():
        if step.exact or (recipe.lossy and step.name != HALF):
            program = step(program)
    return replace(program, encodings={})


def _worst_case(run: HalfRun, judge: Judge) -> str:
    """The case that float16 does most harm to, of those that leave numbers."""
    outputs = run.program.spec.outputs
    shares = {
        case: judge.of_case(case, outputs, run.keeping(inputs, ()))[0]
        for case, inputs in judge.cases.items()
    }
    finite = {case: share for case, share in shares.items() if np.isfinite(share)}
    return max(finite or shares, key=shares.__getitem__)


def _fewest(
    run: HalfRun,
    judge: Judge,
    overflow: Sequence[str],
    ranked: Sequence[LayerSensitivity],
    goal: float,
) -> Sequence[LayerSensitivity]:
    """The fewest layers, worst first, with which float16 stays within a share of the tolerances.

    All of them where even that many do not do.
    """

    outputs = run.program.spec.outputs

    def within(count: int) -> bool:
        keep = {*overflow, *(one.layer for one in ranked[:count])}
        return all(
            judge.of_case(case, outputs, run.keeping(inputs, keep))[0] <= goal
            for case, inputs in judge.cases.items()
        )

    return ranked[: sensitivity.find_first(within, len(ranked))]


@dataclass(frozen=True)
class _Piece:
    """Layers that follow each other: what float16 in these alone does."""

    layers: tuple[str, ...]
    share: float
    moved: float
    where: str

    @property
    def harm(self) -> tuple[float, float]:
        """What to rank by: a mask that has no pixel turned over may be near to it."""
        return self.share / len(self.layers) ** 0.5, self.moved / len(self.layers) ** 0.5


@dataclass
class _Weighing:
    """Weighs the layers of a program on one case; those beside each other together at first.

    Errors of rounding add up as their squares do: a piece that has little error as a whole has
    none in any of its layers, and is not split.
    """

    run: HalfRun
    judge: Judge
    case: str
    report: LayerListener
    _done: int = 0
    _known: Values = field(default_factory=dict)

    def ranked(self) -> list[LayerSensitivity]:
        """Each layer with what it does, the worst first."""
        layers = self.run.layers
        self._known = self.run.values(self.judge.cases[self.case])
        count = min(PIECES, len(layers))
        parts = [
            layers[len(layers) * n // count : len(layers) * (n + 1) // count] for n in range(count)
        ]
        pieces = [self._weighed(part, count) for part in parts]
        while (worst := self._to_split(pieces)) is not None:
            pieces.remove(worst)
            middle = len(worst.layers) // 2
            halves = (worst.layers[:middle], worst.layers[middle:])
            pieces += [self._weighed(half, self._done + 2) for half in halves]
        pieces.sort(key=lambda piece: piece.harm, reverse=True)
        return [
            LayerSensitivity(layer, piece.harm[0], piece.where, 0, 0)
            for piece in pieces
            for layer in piece.layers
        ]

    def _to_split(self, pieces: Sequence[_Piece]) -> _Piece | None:
        several = [piece for piece in pieces if len(piece.layers) > 1]
        if not several or self._done + 2 > RUNS:
            return None
        worst = max(several, key=lambda piece: (piece.share, piece.moved))
        rest, whole = (sum(min(p.moved, 1e30) ** 2 for p in some) for some in (several, pieces))
        return worst if rest > REST**2 * whole else None

    def _weighed(self, layers: tuple[str, ...], planned: int) -> _Piece:
        self.report(self._done, max(planned, self._done))
        self._done += 1
        got = self.run.alone(self.judge.cases[self.case], layers, self._known)
        outputs = self.run.program.spec.outputs
        share, where = self.judge.of_case(self.case, outputs, got)
        return _Piece(layers, share, self.judge.moved(self.case, outputs, got), where)


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
