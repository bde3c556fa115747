"""`mlship shrink`: measures, plans, builds, and plans again until the files fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.capture import capture
from converters.processes import scratch
from converters.progress import Say
from model_defs import lookup
from model_defs.errors import GoalOutOfReach, worst_code
from toolchain.build.build import build
from toolchain.build.request import BuildRequest, Built
from toolchain.bundle.files import write_whole
from toolchain.cluster.pool import Pool
from toolchain.evaluation.score import find_scorer
from toolchain.recipes import recipes
from toolchain.recipes.recipes import Recipe
from toolchain.recipes.targets import Target
from toolchain.search import spread
from toolchain.search.search import EvaluatedPlan, Measured, Search, measure_here, recipe_of

ATTEMPTS = 4
"""Builds after which a budget that files still exceed is given up."""


@dataclass(frozen=True)
class ShrinkGoal:
    """What must hold: bytes of every target's artifact, and the share of the metric lost."""

    bytes: int | None
    drop: float | None
    scenes: int


@dataclass(frozen=True)
class Shrunk:
    """What was found: the plan, its files, the curve that it lies on, and what binds it."""

    model: str
    search: Search
    point: EvaluatedPlan
    built: tuple[Built, ...]
    curve: tuple[EvaluatedPlan, ...]
    binding: str
    problem: str = ""

    @property
    def exit_code(self) -> int:
        return 1 if self.problem else worst_code(one.exit_code for one in self.built)

    @property
    def sizes(self) -> dict[str, int]:
        """Target -> bytes of its artifact."""
        return {b.target: b.bundle.artifact_bytes for b in self.built if b.bundle}

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "ok": self.exit_code == 0,
            "problem": self.problem,
            "metric": self.search.base.metric.name,
            "before": self.search.base.value,
            "after": self.point.score.value,
            "drop": self.point.drop,
            "layers": {layer: choice.kind for layer, choice in self.point.plan.items()},
            "bytes": self.sizes,
            "binding": self.binding,
            "curve": [
                {"bytes": p.bytes, "metric": p.score.value, "drop": p.drop} for p in self.curve
            ],
        }


def shrink(
    name: str,
    targets: tuple[Target, ...],
    budget: ShrinkGoal,
    weights: Path | None,
    out: Path,
    say: Say,
    pool: Pool | None = None,
) -> Shrunk:
    """The plan with the best metric under a budget of bytes, or the smallest within a drop.

    The layers are measured by the workers of a `pool`, if there is one.

    Bundles are written only if both hold. Raises GoalOutOfReach where no plan can be as small, with
    the least that can be had, and what keeps a target from being built.
    """
    (name,) = lookup.expand(name)
    captured = capture(lookup.load(name), weights)
    scorer = find_scorer(captured, budget.scenes)
    measured = measure_here if pool is None else _measured_by(pool, name, weights, say)
    search = Search.of(captured, targets, scorer, say, measured)
    curve = search.curve()
    with scratch.temporary() as work:
        trial = _Trial(name, targets, weights, work, say)
        point, binding = _chosen(search, budget, trial)
        problem = _problem(point, budget)
        recipe = _named(point, budget)
        # Built in either case: the sizes are shown, also of what is not to be had.
        place = work if problem else out
        built = build(BuildRequest((name,), targets, recipe, weights, place), say)
    if not problem:
        path = out / f"{captured.spec.name}.recipe.json"
        write_whole(path, recipes.text_of(recipe))
    return Shrunk(captured.spec.name, search, point, tuple(built), tuple(curve), binding, problem)


def _measured_by(pool: Pool, name: str, weights: Path | None, say: Say) -> Measured:
    return lambda kinds: spread.choices(pool, name, kinds, weights, say)


def _named(point: EvaluatedPlan, budget: ShrinkGoal) -> Recipe:
    wanted = f"{budget.bytes / 1e6:g}MB" if budget.bytes else f"{budget.drop:.2%}"
    return recipe_of(f"shrunk-{wanted}", point)


def _problem(point: EvaluatedPlan, budget: ShrinkGoal) -> str:
    if budget.drop is None or point.drop <= budget.drop:
        return ""
    return (
        f"the best plan within the budget of bytes loses {point.drop:.2%} of "
        f"{point.score.metric.name}, more than {budget.drop:.2%}"
    )


@dataclass(frozen=True)
class _Trial:
    """Builds plans to weigh their files."""

    model: str
    targets: tuple[Target, ...]
    weights: Path | None
    folder: Path
    say: Say

    def sizes(self, recipe: Recipe) -> dict[str, int]:
        """Target -> bytes; raises what kept a target from being built."""
        request = BuildRequest((self.model,), self.targets, recipe, self.weights, self.folder)
        found = build(request, self.say)
        return {one.target: one.shipped().artifact_bytes for one in found}


def _chosen(search: Search, budget: ShrinkGoal, trial: _Trial) -> tuple[EvaluatedPlan, str]:
    """The plan, and the constraint that kept it from being better."""
    if budget.bytes is None:
        assert budget.drop is not None
        found = search.within(budget.drop)
        if found is None:
            least_lost = search.at(search.most + 1)
            assert least_lost is not None
            return least_lost, f"a drop of {budget.drop:.2%}"
        return found, f"a drop of {budget.drop:.2%} of {found.score.metric.name}"
    numbers = budget.bytes
    sizes: dict[str, int] = {}
    for _ in range(ATTEMPTS):
        point = search.at(numbers)
        if point is None:
            raise _too_small(search, budget.bytes, sizes, numbers)
        sizes = trial.sizes(_named(point, budget))
        largest = max(sizes, key=sizes.__getitem__)
        if sizes[largest] <= budget.bytes:
            what = f"{sizes[largest]:,} of {budget.bytes:,} bytes for {largest}"
            return point, what if point.bytes < search.most else "none: it is float16 throughout"
        # As if what a file adds to its numbers were the same for every plan; the next
        # turn weighs again.
        numbers = min(numbers, point.bytes) - (sizes[largest] - budget.bytes)
    raise _too_small(search, budget.bytes, sizes, numbers)


def _too_small(search: Search, wanted: int, sizes: dict[str, int], numbers: int) -> GoalOutOfReach:
    """With the least possible: the smallest plan, and what the largest file adds to its numbers."""
    added = wanted - numbers
    least = search.least + max(0, added)
    what = f"{wanted:,} bytes cannot be had: the least is about {least:,}"
    tight = f" ({max(sizes, key=sizes.__getitem__)} is the largest)" if sizes else ""
    return GoalOutOfReach(
        what + tight,
        where=search.program.spec.name,
        do="raise --max-bytes, leave out the target that stores the widest types, or prune first",
    )
