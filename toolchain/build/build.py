"""`mlship build`: capture, run the recipe, convert, prove, ship."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from converters.processes import scratch
from converters.progress import Say, silent
from model_defs.errors import REPORT_IT, BadWeights, InternalError, MlshipError
from model_defs.files import check_file
from toolchain.build import cache, produce, remote, shared, ship
from toolchain.build.cache import CacheQuery
from toolchain.build.mixing import failed_cases, mixed, not_of_rounding
from toolchain.build.prepare import CapturedModel, Prepared, capture_model, prepare
from toolchain.build.request import LARGE, BuildRequest, Built, destination, title
from toolchain.build.unrounded import Unrounded
from toolchain.bundle import bundle
from toolchain.bundle.files import writing
from toolchain.recipes.targets import Target

if TYPE_CHECKING:
    from converters.api import Artifact
    from converters.processes.worker import Worker
    from model_defs.spec import ModelSpec
    from toolchain.bundle.parity_report import ParityReport


def build(request: BuildRequest, say: Say = silent) -> list[Built]:
    """Build each model for each target; an error on one leaves the others alone.

    Raises what concerns all that was asked for: one model, and it cannot be captured.
    """
    results: list[Built] = []
    for model in request.models:
        try:
            results += _build_model(model, request, say)
        except MlshipError as error:
            if len(request.models) == 1:
                raise
            results += [Built(title(model), t.name, error=error) for t in request.targets]
    return results


def _build_model(model: str | ModelSpec, request: BuildRequest, say: Say) -> list[Built]:
    if request.weights is not None:
        check_file(request.weights, "weights file", BadWeights)
    queries = {target.name: CacheQuery.of(model, target, request) for target in request.targets}
    results: dict[str, Built] = {}
    for name, query in queries.items():
        known = None if request.fresh else cache.find(query)
        if known is not None:
            results[name] = ship.ship_cached(known, request.out)
    missing = [t for t in request.targets if t.name not in results]
    for own in dict.fromkeys(request.recipe.on(t.name) for t in missing):
        alike = tuple(t for t in missing if request.recipe.on(t.name) == own)
        fresh = _build_missing(model, replace(request, targets=alike, recipe=own), queries, say)
        results |= {built.target: built for built in fresh}
    return [results[t.name] for t in request.targets]


def _build_missing(
    model: str | ModelSpec,
    request: BuildRequest,
    queries: Mapping[str, CacheQuery],
    say: Say,
    known: CapturedModel | None = None,
) -> list[Built]:
    """Build what the cache does not have; all targets of the request take the same recipe.

    `known` is the model, where another recipe of it was tried.
    """
    from converters.processes.worker import Worker
    from toolchain.recipes.mixed_precision import may_mix

    targets, what = request.targets, title(model)
    with ExitStack() as stack:
        # Workers load their tools while the model is captured.
        workers = {t.name: stack.enter_context(Worker(t.format)) for t in targets}
        work = stack.enter_context(scratch.temporary())
        pool = stack.enter_context(ThreadPoolExecutor(len(targets) + 1))
        say(what, "capturing")
        prepared = prepare(known or capture_model(model, request), model, request, work, pool, say)
        say(what, "")
        for target in targets:
            bundle.check_destination(destination(request.out, prepared.name, target.name))
        is_large = prepared.model.parameters > LARGE
        turns = stack.enter_context(ThreadPoolExecutor(1)) if is_large else pool
        unrounded = Unrounded(prepared, work)
        jobs = [
            turns.submit(
                _build_target, prepared, unrounded, t, workers[t.name], queries[t.name], stack, say
            )
            for t in targets
        ]
        # What a build shipped appears together: a kill before this leaves all that was there.
        built = [_published(one, request.out) for one in [job.result() for job in jobs]]
        if not may_mix(request.recipe, failed_cases(built)):
            return built
        better = mixed(prepared, built, say)
    if better.keep.keys() == request.recipe.keep.keys():
        return built
    # What is wrong whatever is rounded is not built again.
    done = [one for one in built if one.report is not None and not_of_rounding(one.report)]
    rest = tuple(t for t in targets if t.name not in {one.target for one in done})
    again = replace(request, recipe=better, targets=rest)
    return [*done, *_build_missing(model, again, queries, say, prepared.before)]


def _build_target(
    prepared: Prepared,
    unrounded: Unrounded,
    target: Target,
    worker: Worker,
    query: CacheQuery,
    stages: ExitStack,
    say: Say,
) -> Built:
    """Convert what was prepared, prove and seal it; an error is this target's alone.

    What passed waits in its stage, which goes with `stages`, to be published.
    """
    from converters import formats

    name, out = prepared.name, prepared.request.out
    refusal = prepared.refused(target.made.source)
    if refusal is not None:
        return Built(name, target.name, error=refusal)
    key = cache.key(prepared.digest, prepared.described, query)
    if prepared.request.fresh:
        cache.forget(key)
    known = shared.find(key)
    if known is not None:
        cache.store(query, prepared.inputs, key, known.directory)
        return ship.ship_cached(known, out)
    what, where = f"{name}-{target.name}", destination(out, name, target.name)
    try:
        formats.prepare_runner(target.format)
        stage = stages.enter_context(bundle.staging(where))
        with writing(where):
            artifact, report = _proved(prepared, target, worker, stage, key, say)
            report = unrounded.added(report, target, worker, say)
            sealed = ship.seal(prepared, target, artifact, report)
            if not report.ok:
                rejected = cache.keep_rejected(sealed)
                return Built(name, target.name, report=report, rejected=rejected)
            cache.store(query, prepared.inputs, key, sealed.directory)
            shared.offer(key)
    except MlshipError as error:
        return Built(name, target.name, error=error)
    except Exception as error:  # ours, or a runtime's: no reason to lose the other targets
        defect = InternalError(f"{type(error).__name__}: {error}", do=REPORT_IT)
        defect.__cause__ = error
        return Built(name, target.name, error=defect)
    finally:
        say(what, "")
    return Built(name, target.name, sealed, report, object=key)


def _proved(
    prepared: Prepared, target: Target, worker: Worker, stage: Path, key: str, say: Say
) -> tuple[Artifact, ParityReport]:
    """The artifact in its stage and its report: another machine's where that is right, or ours."""
    if remote.is_shared() and not prepared.request.fresh:
        with scratch.temporary() as work:
            found = shared.fetched(key, work / "object")
            theirs = found and shared.proved(found.bundle, prepared, target, stage, say)
        if theirs:
            return theirs
    what = f"{prepared.name}-{target.name}"
    say(what, "converting")
    artifact = produce.convert(prepared, target, worker, stage, say)
    say(what, "proving")
    return artifact, produce.prove(artifact, prepared)


def _published(built: Built, out: Path) -> Built:
    """What passed, moved from its stage to where it ships."""
    if built.bundle is None or built.cached:
        return built
    where = destination(out, built.model, built.target)
    try:
        return replace(built, bundle=bundle.publish(built.bundle.directory, where))
    except MlshipError as error:
        return replace(built, bundle=None, error=error)
