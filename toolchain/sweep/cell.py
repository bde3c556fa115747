"""The job of a matrix: one model in one recipe, built for its targets and proved on backends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.processes import scratch
from converters.progress import Say
from toolchain.build.build import build
from toolchain.build.request import BuildRequest, Built
from toolchain.bundle.parity_report import GOLDEN, ParityRow
from toolchain.cluster.job import Job, JobOutcome, Json
from toolchain.parity.harness import BackendChoice, Outcome, exit_code
from toolchain.recipes import recipes, targets


def job(
    model: str, recipe: str, places: Sequence[str], options: Mapping[str, Json], memory: int = 0
) -> Job:
    """Building a model in a recipe; `options` are weights, backends, fresh, trust_pickle."""
    asked = {"model": model, "recipe": recipe, "targets": [*places], **options}
    keep = not options.get("fresh")
    return Job(f"{Path(model).name} {recipe}", "cell", asked, memory, keep)


def work(arguments: Mapping[str, Json], say: Say) -> Json:
    """By target: whether it is equal, its bytes, its place in the cache, each backend's verdict."""
    model, weights = arguments["model"], arguments.get("weights")
    with scratch.temporary() as out:
        request = BuildRequest(
            (model,),
            targets.find(arguments["targets"]),
            recipes.find(arguments["recipe"]),
            weights=Path(weights) if weights else None,
            out=out,
            trust_pickle=bool(arguments.get("trust_pickle")),
            fresh=bool(arguments.get("fresh")),
        )
        built = build(request, say)
        return {one.target: _cell(one, request, arguments.get("backends"), say) for one in built}


def _cell(built: Built, request: BuildRequest, backends: Json, say: Say) -> dict[str, Any]:
    found: dict[str, Any] = {"name": built.model, "ok": built.ok, "exit_code": built.exit_code}
    if built.error is not None:
        said = built.error
        return {**found, "problem": said.what, "where": said.where, "do": said.do, "backends": {}}
    rows = list(built.report.rows) if built.report else []
    seconds: Mapping[str, float] = {}
    problems, code = list(built.problems), built.exit_code
    if built.bundle is not None:
        found |= {"bytes": built.bundle.artifact_bytes, "object": built.object}
        found["notes"] = list(built.bundle.manifest.all_notes)
        if backends is not None:
            more = _judged(built, request, backends, say)
            seconds = more.seconds
            rows += more.report.rows
            problems, code = list(more.report.problems), exit_code((more.report,))
    found |= {"ok": code == 0, "exit_code": code, "problem": "; ".join(problems)}
    return {**found, "backends": summary(rows, seconds)}


def _judged(built: Built, request: BuildRequest, backends: Sequence[str], say: Say) -> Outcome:
    """The same bundle on every backend here, or on those that are named."""
    from toolchain.build import judge
    from toolchain.build.on_demand import Wanted

    assert built.bundle is not None
    wanted = Wanted(
        request.targets,
        request.recipe,
        model=request.models[0],
        weights=request.weights,
        trust_pickle=request.trust_pickle,
    )
    names = (str(built.bundle.directory),)
    ran = judge.run(names, wanted, BackendChoice(tuple(backends)), say=say)
    (outcome,) = ran.outcomes
    return outcome


def summary(rows: Iterable[ParityRow], seconds: Mapping[str, float]) -> dict[str, Any]:
    """By backend: the verdict, and the worst error as a share of what is allowed."""
    found: dict[str, list[ParityRow]] = {}
    for row in rows:
        if row.backend != GOLDEN:
            found.setdefault(row.backend, []).append(row)
    return {
        backend: {**_of_backend(own), "seconds": round(seconds.get(backend, 0.0), 1)}
        for backend, own in found.items()
    }


def _of_backend(rows: Sequence[ParityRow]) -> dict[str, Any]:
    verdicts = {row.verdict for row in rows}
    verdict = next(v for v in ("failed", "passed", "skipped") if v in verdicts)
    shares = [row.error / row.tolerance for row in rows if row.error is not None and row.tolerance]
    note = next((row.note for row in rows if row.verdict == "skipped" and row.note), "")
    return {
        "verdict": verdict,
        "share": round(max(shares), 6) if shares else None,
        "cases": len({row.case for row in rows if row.error is not None}),
        "note": note if verdict == "skipped" else "",
    }


def is_there(outcome: JobOutcome) -> bool:
    """Whether the cache still has all that an outcome speaks of."""
    from toolchain.build import shared

    if outcome.failure is not None:
        return True
    keys = [found["object"] for found in outcome.value.values() if found.get("object")]
    return all(shared.find(key) is not None for key in keys)
