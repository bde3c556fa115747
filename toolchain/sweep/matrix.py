"""`mlship matrix`: models x recipes x targets x backends, built and proved side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.progress import Say, silent
from model_defs.errors import worst_code
from toolchain.cluster.job import Job, JobOutcome, Json
from toolchain.cluster.pool import Pool, Run
from toolchain.recipes.targets import Target
from toolchain.sweep import cell
from toolchain.sweep.table import Table


@dataclass(frozen=True)
class MatrixRequest:
    """What is built: every model in every recipe for every target, into `out`/recipe.

    `backends`: where each bundle is proved again, all of this machine if it is empty, and nowhere
    but where a build proves it if it is None. `out` None: what is built stays in the cache.
    """

    models: tuple[str, ...]
    recipes: tuple[str, ...]
    targets: tuple[Target, ...]
    backends: tuple[str, ...] | None = None
    weights: Path | None = None
    out: Path | None = None
    trust_pickle: bool = False
    fresh: bool = False

    @property
    def options(self) -> dict[str, Json]:
        return {
            "weights": str(self.weights.absolute()) if self.weights else None,
            "backends": None if self.backends is None else list(self.backends),
            "trust_pickle": self.trust_pickle,
            "fresh": self.fresh,
        }

    def jobs(self) -> dict[Job, tuple[str, str]]:
        """A job for each model in each recipe."""
        places = [target.name for target in self.targets]
        return {
            cell.job(model, recipe, places, self.options): (model, recipe)
            for model in self.models
            for recipe in self.recipes
        }


@dataclass(frozen=True)
class MatrixRow:
    """One bundle: whether it is equal to PyTorch, its bytes, and each backend's verdict."""

    model: str
    recipe: str
    target: str
    exit_code: int
    bytes: int | None = None
    problem: str = ""
    backends: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    directory: str = ""
    seconds: float = 0.0

    @property
    def status(self) -> str:
        if self.exit_code == 0:
            return "passed"
        return {1: "failed", 3: "skipped"}.get(self.exit_code, "not built")

    def cells(self, machine: str = "") -> dict[str, Any]:
        del machine
        cells: dict[str, Any] = {
            "model": self.model,
            "recipe": self.recipe,
            "target": self.target,
            "status": self.status,
            "bytes": self.bytes,
        }
        for name, found in self.backends.items():
            cells[name] = found["verdict"]
            cells[f"{name} share"] = found["share"]
        return {**cells, "problem": self.problem, "seconds": round(self.seconds, 1)}

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "recipe": self.recipe,
            "target": self.target,
            "ok": self.exit_code == 0,
            "exit_code": self.exit_code,
            "bytes": self.bytes,
            "problem": self.problem,
            "backends": {name: dict(found) for name, found in self.backends.items()},
            "bundle": self.directory or None,
            "seconds": round(self.seconds, 1),
        }


def matrix(
    request: MatrixRequest,
    pool: Pool,
    table: Table,
    *,
    logs: Path | None = None,
    say: Say = silent,
) -> list[MatrixRow]:
    """All rows, in the order that was asked for; each is in the table as soon as it is known."""
    jobs = request.jobs()
    found: dict[tuple[str, str], list[MatrixRow]] = {}
    for job, outcome in Run(pool, "matrix", say, logs).each(jobs, cell.is_there):
        model, recipe = jobs[job]
        rows = _rows(Path(model).name, recipe, request, outcome)
        found[model, recipe] = rows
        for row in rows:
            table.add(row)
    return [row for key in jobs.values() for row in found[key]]


def exit_code(rows: Sequence[MatrixRow]) -> int:
    return worst_code(row.exit_code for row in rows)


def _rows(model: str, recipe: str, request: MatrixRequest, outcome: JobOutcome) -> list[MatrixRow]:
    failure, seconds = outcome.failure, outcome.seconds
    if failure is not None:
        return [
            MatrixRow(
                model, recipe, t.name, failure.exit_code, problem=str(failure), seconds=seconds
            )
            for t in request.targets
        ]
    return [
        MatrixRow(
            found["name"],
            recipe,
            target,
            found["exit_code"],
            found.get("bytes"),
            found["problem"],
            found["backends"],
            _shipped(found, request.out / recipe if request.out else None),
            seconds / len(outcome.value),
        )
        for target, found in outcome.value.items()
    ]


def _shipped(found: Mapping[str, Any], out: Path | None) -> str:
    """Where the bundle is, copied out of the cache; "" where there is none, or it stays there."""
    from toolchain.build import shared, ship

    if out is None or not found.get("object"):
        return ""
    known = shared.find(found["object"])
    if known is None:
        return ""
    built = ship.ship_cached(known, out)
    return str(built.bundle.directory) if built.bundle else ""
