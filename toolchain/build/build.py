"""`mlship build`: capture, run the recipe, convert, prove, ship."""

from __future__ import annotations

import functools
import re
import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from converters.progress import Say, silent
from model_defs import lookup
from model_defs.errors import (
    BadArtifact,
    BadWeights,
    ConversionFailed,
    MlshipError,
    UnsupportedOperation,
)
from model_defs.installation import VERSION
from toolchain.build import cache
from toolchain.build.cache import CacheQuery
from toolchain.build.request import BuildRequest, Built, destination, title
from toolchain.bundle import bundle
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.parity_report import ParityReport
from toolchain.bundle.weights import IN_MEMORY, WeightsOrigin
from toolchain.recipes.recipes import Recipe
from toolchain.recipes.targets import DEFAULT_VIA, Target, Via

if TYPE_CHECKING:
    from converters.api import Artifact, Export, Program
    from converters.processes.worker import Worker
    from model_defs.spec import ModelSpec
    from toolchain.bundle.manifest import Contents, ModelEntry
    from toolchain.bundle.pass_record import PassRecord
    from toolchain.data.trunks import Trunks
    from toolchain.parity.reference import Reference
    from toolchain.recipes.targets import Compute

GOLDEN = ("photo", "noise")
LOADING = Path(__file__).parents[1] / "clients"


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
    if request.weights is not None and not request.weights.is_file():
        raise BadWeights("there is no such weights file", where=str(request.weights))
    queries = {target.name: CacheQuery.of(model, target, request) for target in request.targets}
    results: dict[str, Built] = {}
    for name, query in queries.items():
        known = cache.find(query)
        if known is not None:
            results[name] = _ship_cached(known, request.out)
    missing = [t for t in request.targets if t.name not in results]
    for own in dict.fromkeys(request.recipe.on(t.name) for t in missing):
        alike = tuple(t for t in missing if request.recipe.on(t.name) == own)
        fresh = _build_missing(model, replace(request, targets=alike, recipe=own), queries, say)
        results |= {built.target: built for built in fresh}
    return [results[t.name] for t in request.targets]


def _ship_cached(known: Bundle, out: Path) -> Built:
    where = destination(out, known.name, known.target)
    report = known.report
    if _is_there(where, known):
        return Built(known.name, known.target, Bundle(where, known.manifest), report, cached=True)
    with bundle.staging(where) as stage:
        shutil.copytree(known.directory, stage, dirs_exist_ok=True)
        shipped = bundle.publish(stage, where)
    return Built(known.name, known.target, shipped, report, cached=True)


def _is_there(where: Path, known: Bundle) -> bool:
    try:
        return bundle.read(where).manifest.digest == known.manifest.digest
    except MlshipError:
        return False


def _build_missing(
    model: str | ModelSpec, request: BuildRequest, queries: Mapping[str, CacheQuery], say: Say
) -> list[Built]:
    """Build what the cache does not have; all targets of the request take the same recipe."""
    from converters.processes.worker import Worker
    from toolchain.recipes.mixed_precision import may_mix, mix
    from toolchain.recipes.sensitivity import Judge

    targets, recipe, what = request.targets, request.recipe, title(model)
    with ExitStack() as stack:
        workers = {t.name: stack.enter_context(Worker(t.format)) for t in targets}
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlship-")))
        say(what, "capturing")
        pool = stack.enter_context(ThreadPoolExecutor(len(targets) + 1))
        prepared = _Prepared.of(model, request, work, pool, say)
        say(what, "")
        for target in targets:
            bundle.check_destination(request.destination(prepared.spec_name, target))
        jobs = [
            pool.submit(_build_target, prepared, t, request, workers[t.name], queries[t.name], say)
            for t in targets
        ]
        built = [job.result() for job in jobs]
        failed = {case for one in built if one.report for case in one.report.failed_cases}
        if not may_mix(recipe, failed):
            return built
        say(what, "choosing layers for float32")
        truth = prepared.truth.result()
        judge = Judge(truth.cases, truth.expected)
        better = mix(recipe, prepared.captured, prepared.program, judge, failed)
        say(what, "")
    return _build_missing(model, replace(request, recipe=better), queries, say)


@dataclass(frozen=True)
class _Prepared:
    """What all targets of one build share; the truth is computed while they convert."""

    captured: Program
    program: Program
    records: tuple[PassRecord, ...]
    export: Export
    cases: tuple[str, ...]
    truth: Future[Reference]
    inputs: frozenset[Path]
    model: ModelEntry
    pruned: bool

    @property
    def spec_name(self) -> str:
        return self.program.spec.name

    @classmethod
    def of(
        cls,
        model: str | ModelSpec,
        request: BuildRequest,
        work: Path,
        pool: ThreadPoolExecutor,
        say: Say,
    ) -> _Prepared:
        from converters.capture import capture, export
        from toolchain.data.trunks import Trunks
        from toolchain.recipes import pass_report, pipeline

        recipe = request.recipe
        with cache.recording() as inputs:
            spec = lookup.load(model)
            file = recipe.weights_of(spec, request.weights)
            captured = capture(spec, file)
            trunks = Trunks.of(spec)
        told = functools.partial(say, title(model))
        evaluate: pass_report.Evaluate = pass_report.evaluate_nothing
        if request.evaluator is not None:
            evaluate = request.evaluator(captured, told)
        shipped, entries = pipeline.record(captured, recipe.load(), evaluate)
        needs_onnx = any(t.needs_onnx for t in request.targets)
        exported = export(shipped, work, onnx=needs_onnx)
        weights = WeightsOrigin.of(file)
        if file is None and not isinstance(model, str):
            weights = IN_MEMORY
        described = _describe(captured, weights)
        truth = pool.submit(_truth, recipe, captured, shipped, trunks)
        kept = frozenset(inputs)
        pruned = file not in (request.weights, spec.weights)
        return cls(
            captured, shipped, entries, exported, trunks.case_names, truth, kept, described, pruned
        )


def _truth(recipe: Recipe, captured: Program, shipped: Program, trunks: Trunks) -> Reference:
    from toolchain.parity import reference

    return reference.of_build(recipe, captured, shipped, trunks.build_cases())


def _describe(program: Program, weights: WeightsOrigin) -> ModelEntry:
    from model_defs.counting import parameters
    from toolchain.bundle.manifest import ModelEntry

    return ModelEntry(
        name=program.spec.name,
        summary=program.spec.summary,
        parameters=parameters(program.module),
        weights=weights,
    )


def _build_target(
    prepared: _Prepared,
    target: Target,
    request: BuildRequest,
    worker: Worker,
    query: CacheQuery,
    say: Say,
) -> Built:
    spec, recipe = prepared.program.spec, request.recipe
    what = f"{spec.name}-{target.name}"
    where = request.destination(spec.name, target)
    described = {
        "model": prepared.model.model_dump(),
        "export": prepared.export.to_json() | {"directory": ""},
        "keep": dict(recipe.keep),
        "cases": list(prepared.cases),
    }
    key = cache.key(prepared.export.digest, described, query)
    known = cache.open_object(key)
    if known is not None:
        cache.store(query, prepared.inputs, key, known.directory)
        return _ship_cached(known, request.out)
    from converters import formats

    say(what, "converting")
    try:
        formats.prepare_runner(target.format)
        with bundle.staging(where) as stage:
            artifact = _convert(
                worker, prepared.export, stage, f"{spec.name}{target.suffix}", request.via
            )
            say(what, "proving")
            report = _prove(artifact, prepared, recipe)
            for name in target.loading:
                shutil.copy(LOADING / name, stage / name)
            compute = query.compute if target.format == "coreml" else None
            contents = _contents(prepared, target, recipe, artifact, report, compute)
            sealed = bundle.seal(stage, contents)
            if not report.ok:
                rejected = cache.keep_rejected(sealed)
                return Built(spec.name, target.name, report=report, rejected=rejected)
            cache.store(query, prepared.inputs, key, sealed.directory)
            shipped = bundle.publish(stage, where)
    except MlshipError as error:
        return Built(spec.name, target.name, error=error)
    finally:
        say(what, "")
    return Built(spec.name, target.name, shipped, report)


def _convert(worker: Worker, export: Export, stage: Path, name: str, via: Via) -> Artifact:
    try:
        artifact = worker.convert(export, stage, {} if via == DEFAULT_VIA else {"via": via})
    except UnsupportedOperation as error:
        raise _with_source(error, export) from error
    path = stage / name
    artifact.path.rename(path)
    return replace(artifact, path=path)


def _with_source(error: UnsupportedOperation, export: Export) -> UnsupportedOperation:
    """The same error at the user's line instead of at an ONNX node's path."""
    from converters.capture import source_of

    node = re.match(r"node '(/.+)/(.+?)(_\d+)?'", error.where)
    line = source_of(export, node[1], node[2]) if node else ""
    return UnsupportedOperation(error.what, where=line or error.where, do=error.do)


def _prove(artifact: Artifact, prepared: _Prepared, recipe: Recipe) -> ParityReport:
    from converters import formats
    from toolchain.parity import compare

    truth = prepared.truth.result()
    try:
        runner = formats.open_runner(artifact)
    except BadArtifact as error:  # of our own making: no input of the user's is to blame
        what = f"the {artifact.format} converter wrote what does not run: {error.what}"
        raise ConversionFailed(what, where=error.where, do=error.do) from error
    try:
        rows = compare.check(
            runner,
            truth.outputs,
            truth.cases,
            truth.expected,
            exact=recipe.exact,
        )
    finally:
        runner.close()
    return ParityReport(rows, required=(runner.backend,))


def _contents(
    prepared: _Prepared,
    target: Target,
    recipe: Recipe,
    artifact: Artifact,
    report: ParityReport,
    compute: Compute | None,
) -> Contents:
    from toolchain.bundle.manifest import Contents, ProofEntry, RecipeEntry
    from toolchain.quantization import tolerance

    spec, truth = prepared.program.spec, prepared.truth.result()
    stage = artifact.path.parent
    return Contents(
        model=prepared.model,
        target=target.name,
        recipe=RecipeEntry(
            name=recipe.name,
            passes=recipe.steps,
            layers=dict(recipe.layers),
            keep={**recipe.keep, **prepared.program.kept},
            pruned=prepared.pruned,
            pass_report=prepared.records,
        ),
        inputs=spec.inputs,
        outputs=truth.outputs,
        artifact=replace(artifact, path=Path(artifact.path.name)),
        notes=(*prepared.program.notes, *tolerance.notes(spec.outputs, truth.outputs)),
        parity=ProofEntry.of(report),
        golden=tuple(_write_golden(stage, case, truth) for case in GOLDEN),
        tools=tools(),
        compute=compute,
    )


def _write_golden(stage: Path, case: str, truth: Reference) -> str:
    """Inputs and PyTorch's outputs of a case, so that an app can test itself on a device."""
    from safetensors.numpy import save_file

    path = stage / "golden" / f"{case}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file({**truth.cases[case], **truth.expected[case]}, path)
    return path.relative_to(stage).as_posix()


def tools() -> dict[str, str]:
    """The versions of what decides an artifact's bytes."""
    from importlib.metadata import version

    names = ("torch", "coremltools", "tensorflow", "onnx", "onnxsim", "ai-edge-litert", "numpy")
    return {"mlship": VERSION, **{name: version(name) for name in names}}
