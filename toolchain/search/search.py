"""Recipes tried, layer by layer, until the files of all targets fit and the metric is best."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure.units import bytes_text
from converters.encodings import HALF
from converters.progress import Say
from model_defs.errors import BadRecord
from toolchain.build import cache
from toolchain.bundle.files import write_whole
from toolchain.bundle.home import cache_home
from toolchain.evaluation.score import Score, Scorer
from toolchain.passes.fold_batchnorm import FoldBatchnorm
from toolchain.passes.weights_fp16 import WeightsFp16
from toolchain.passes.weights_mixed import WeightsMixed
from toolchain.recipes import pipeline
from toolchain.recipes.pass_report import stored_bytes
from toolchain.recipes.recipes import FOLD, MIXED, Recipe
from toolchain.search import choices, knapsack
from toolchain.search.knapsack import Plan

if TYPE_CHECKING:
    from converters.api import Program
    from toolchain.recipes.targets import Target

CURVE = 6
"""Plans between the smallest and float16 that are evaluated for the curve."""


@dataclass(frozen=True)
class EvaluatedPlan:
    """A plan that was evaluated: the bytes of its numbers, its metric, and what that lost."""

    bytes: int
    score: Score
    drop: float
    plan: Plan = field(repr=False, default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many layers are stored as what."""
        kinds = [choice.kind for choice in self.plan.values()]
        return {kind: kinds.count(kind) for kind in dict.fromkeys(sorted(kinds))}


class Memory:
    """Numbers that were measured before, also by a run that was killed.

    $MLSHIP_CACHE/shrink/<digest of the numbers, the source and the packages>.json
    """

    def __init__(self, program: Program) -> None:
        digest = hashlib.sha256(cache.environment().encode())
        digest.update(repr(program.spec.outputs).encode())  # by them scores are computed
        for name, tensor in program.module.state_dict().items():
            digest.update(name.encode() + tensor.numpy().tobytes())
        self.path = cache_home() / "shrink" / f"{digest.hexdigest()}.json"
        self._known: dict[str, float] = {}
        if self.path.is_file():
            with contextlib.suppress(BadRecord):  # what is damaged is measured anew
                self._known = _read_numbers(self.path)

    def learn(self, found: Callable[[], Mapping[str, float]]) -> None:
        """Takes over what others have measured, unless numbers are known already."""
        if not self._known and (others := found()):
            self._known |= others
            write_whole(self.path, json.dumps(self._known))

    def __call__(self, what: str, how: Callable[[], float]) -> float:
        if what not in self._known:
            self._known[what] = how()
            # After each number, since the next may be where the run is killed.
            write_whole(self.path, json.dumps(self._known))
        return self._known[what]


Measured = Callable[[Sequence[str]], Mapping[str, float]]
"""From the types that layers may be stored as to numbers that were measured of them."""


def measure_here(kinds: Sequence[str]) -> Mapping[str, float]:
    """None: this process measures all."""
    del kinds
    return {}


def _read_numbers(path: Path) -> dict[str, float]:
    """Finite numbers by name. Raises BadRecord."""
    from toolchain.bundle.reading import DataFile, json_object, read_text, validated

    file = DataFile("what was measured before", str(path), BadRecord)
    return validated(dict[str, float], json_object(read_text(path, file), file), file)


@dataclass(frozen=True)
class Search:
    """A model whose layers were measured, and what plans for it were evaluated."""

    program: Program
    scorer: Scorer
    base: Score
    choices: Mapping[str, Sequence[choices.StorageChoice]]
    memory: Memory
    say: Say

    @classmethod
    def of(
        cls,
        captured: Program,
        targets: Sequence[Target],
        scorer: Scorer,
        say: Say,
        measured: Measured = measure_here,
    ) -> Search:
        """Measures each layer as each type that all of the targets store.

        `measured` may have numbers for some of it that others have found.
        """
        program = pipeline.run(captured, [FoldBatchnorm()])
        memory, name = Memory(program), program.spec.name
        kinds = choices.list_kinds(targets)
        memory.learn(lambda: measured(kinds))
        value = memory("score", lambda: scorer.score(program).value)
        base = Score(scorer.metric, value)

        def report(done: int, total: int) -> None:
            say(name, f"measuring layer {done + 1} of {total}")

        found = choices.measure_choices(program, kinds, memory, report)
        say(name, "")
        return cls(program, scorer, base, found, memory, say)

    @property
    def rest(self) -> int:
        """The bytes of all numbers that are in no kernel, in float16."""
        halved = WeightsFp16()(self.program)
        kernels = sum(own[0].bytes for own in self.choices.values())
        return stored_bytes(halved) - kernels

    @property
    def least(self) -> int:
        """The bytes of the smallest plan."""
        smallest = (min(choice.bytes for choice in own) for own in self.choices.values())
        return sum(smallest) + self.rest

    @property
    def most(self) -> int:
        """The bytes in float16."""
        return sum(own[0].bytes for own in self.choices.values()) + self.rest

    def at(self, budget: int) -> EvaluatedPlan | None:
        """The best plan whose numbers fit so many bytes, evaluated; None where none fits."""
        plan = knapsack.pack(self.choices, budget - self.rest)
        if plan is None:
            return None
        kinds = {layer: choice.kind for layer, choice in plan.items()}
        self.say(self.program.spec.name, f"evaluating {bytes_text(budget)}")
        # By the plan and not the budget: two budgets with one plan are evaluated once.
        what = "plan " + json.dumps(kinds, sort_keys=True)
        value = self.memory(what, lambda: self.scorer.score(self._applied(kinds)).value)
        self.say(self.program.spec.name, "")
        score = Score(self.base.metric, value)
        return EvaluatedPlan(knapsack.total(plan) + self.rest, score, self.base.drop(score), plan)

    def _applied(self, kinds: Mapping[str, str]) -> Program:
        mixed = tuple((layer, kind) for layer, kind in kinds.items() if kind != HALF.dtype)
        return pipeline.run(self.program, [WeightsMixed(mixed), WeightsFp16()])

    def curve(self) -> list[EvaluatedPlan]:
        """Plans from the smallest to float16, a constant ratio apart."""
        ratio = (self.most / self.least) ** (1 / (CURVE - 1))
        budgets = [round(self.least * ratio**step) for step in range(CURVE)]
        # One byte more, so that rounding leaves out neither end.
        return [point for budget in budgets if (point := self.at(budget + 1)) is not None]

    def within(self, drop: float) -> EvaluatedPlan | None:
        """The smallest plan that loses no more than this share of the metric; by bisection."""
        low, high = self.least, self.most + 1
        best = self.at(high)
        if best is None or best.drop > drop:
            return None
        # As if more bytes never lost more. Where they do, the plan returned was evaluated all the
        # same, but need not be the smallest. To half a percent, as each step evaluates a plan.
        while high - low > self.most // 200:
            middle = (low + high) // 2
            point = self.at(middle)
            if point is not None and point.drop <= drop:
                best, high = point, middle
            else:
                low = middle
        return best


def recipe_of(name: str, point: EvaluatedPlan) -> Recipe:
    """The recipe that builds a plan; float16 for whatever the plan has no type for."""
    kinds = {layer: choice.kind for layer, choice in point.plan.items()}
    mixed = {layer: kind for layer, kind in kinds.items() if kind != HALF.dtype}
    return Recipe(name, (FOLD, MIXED, "weights-fp16"), layers=mixed)
