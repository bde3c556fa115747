"""`mlship build`: capture, run the recipe, convert, prove, ship."""

from __future__ import annotations

import functools
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from model_defs import lookup
from model_defs.errors import BadWeights, MlshipError, UnsupportedOperation
from toolchain.build import cache
from toolchain.build.cache import Request
from toolchain.bundle import bundle
from toolchain.bundle.bundle import Bundle
from toolchain.parity.compare import ParityReport
from toolchain.recipes.recipes import Recipe
from toolchain.recipes.targets import (
    DEFAULT_COMPUTE,
    DEFAULT_VIA,
    Compute,
    Target,
    Via,
    check_compute,
    check_recipe,
    check_via,
)

if TYPE_CHECKING:
    import numpy as np

    from converters.api import Artifact, Export, Program
    from converters.processes.worker import Worker
    from model_defs.spec import ModelSpec, TensorSpec
    from toolchain.recipes.pass_report import PassRecord

Say = Callable[[str, str], None]
"""Told (what is being built, what is happening to it: nothing more, if empty)."""

GOLDEN = ("photo", "noise")
LOADING = Path(__file__).parents[1] / "clients"


@dataclass(frozen=True)
class Built:
    """What became of one model on one target: a bundle, a failed report, or an error.

    `rejected` is what a failed report is of, kept in the cache so that it can be looked into.
    """

    model: str
    target: str
    bundle: Bundle | None = None
    report: ParityReport | None = None
    cached: bool = False
    error: MlshipError | None = None
    rejected: Bundle | None = None

    @property
    def exit_code(self) -> int:
        if self.error is not None:
            return self.error.exit_code
        return 0 if self.bundle is not None else 1


@dataclass(frozen=True)
class Reference:
    """The cases, what PyTorch answers to them, and the outputs with what they may differ by."""

    cases: dict[str, dict[str, np.ndarray]]
    expected: dict[str, dict[str, np.ndarray]]
    outputs: tuple[TensorSpec, ...]


def build(
    model_names: Iterable[str],
    targets: tuple[Target, ...],
    recipe: Recipe,
    *,
    weights: Path | None = None,
    out: Path = Path("dist"),
    via: Via = DEFAULT_VIA,
    compute: Compute = DEFAULT_COMPUTE,
    metric: bool = False,
    say: Say = lambda what, stage: None,
) -> list[Built]:
    """Build each model for each target; an error on one leaves the others alone.

    `via` "onnx2tf" takes its lowering instead of ours, for TFLite and TF.js only. `compute` is
    written into Core ML bundles, whose loading code sets it. `metric` examines the model after
    each pass, for the ledger.

    Raises what concerns all that was asked for: one model, and it cannot be captured.
    """
    names = tuple(model_names)
    check_via(targets, via)
    check_compute(targets, compute)
    check_recipe(targets, recipe)
    results: list[Built] = []
    for name in names:
        try:
            results += _build_model(name, targets, recipe, weights, out, via, compute, metric, say)
        except MlshipError as error:
            if len(names) == 1:
                raise
            results += [Built(name, target.name, error=error) for target in targets]
    return results


def _build_model(
    name: str,
    targets: tuple[Target, ...],
    recipe: Recipe,
    weights: Path | None,
    out: Path,
    via: Via,
    compute: Compute,
    metric: bool,
    say: Say,
) -> list[Built]:
    if weights is not None and not weights.is_file():
        raise BadWeights("there is no such weights file", where=str(weights))
    file = str(weights.absolute()) if weights else ""
    requests = {
        t.name: Request(
            name, t.name, recipe.on(t.name).key, file, via, _compute_of(t, compute), metric
        )
        for t in targets
    }
    results: dict[str, Built] = {}
    for target in targets:
        known = cache.find(requests[target.name])
        if known is not None:
            results[target.name] = _ship_cached(known, out)
    missing = [t for t in targets if t.name not in results]
    for own in dict.fromkeys(recipe.on(t.name) for t in missing):
        alike = tuple(t for t in missing if recipe.on(t.name) == own)
        fresh = _build_missing(name, alike, own, weights, requests, out, say)
        results |= {built.target: built for built in fresh}
    return [results[t.name] for t in targets]


def _compute_of(target: Target, compute: Compute) -> Compute:
    return compute if target.format == "coreml" else DEFAULT_COMPUTE


def destination(out: Path, model: str, target: str) -> Path:
    """Where the bundle of a model for a target goes: `out/model-target`."""
    return out / f"{model}-{target}"


def _ship_cached(known: Bundle, out: Path) -> Built:
    where = destination(out, known.name, known.target)
    report = ParityReport.from_json(known.manifest["parity"])
    if _is_there(where, known):
        return Built(known.name, known.target, Bundle(where, known.manifest), report, cached=True)
    with bundle.staging(where) as stage:
        shutil.copytree(known.directory, stage, dirs_exist_ok=True)
        shipped = bundle.publish(stage, where)
    return Built(known.name, known.target, shipped, report, cached=True)


def _is_there(where: Path, known: Bundle) -> bool:
    try:
        return bundle.read(where).manifest["digest"] == known.manifest["digest"]
    except MlshipError:
        return False


def _build_missing(
    name: str,
    targets: tuple[Target, ...],
    recipe: Recipe,
    weights: Path | None,
    requests: dict[str, Request],
    out: Path,
    say: Say,
) -> list[Built]:
    from converters.processes.worker import Worker
    from toolchain.quantization.mixed_precision import can_mend, mended
    from toolchain.quantization.sensitivity import Judge

    with ExitStack() as stack:
        workers = {t.name: stack.enter_context(Worker(t.format)) for t in targets}
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlship-")))
        say(Path(name).name, "capturing")
        pool = stack.enter_context(ThreadPoolExecutor(len(targets) + 1))
        examined = requests[targets[0].name].metric
        prepared = _Prepared.of(name, targets, recipe, weights, examined, work, pool, say)
        say(Path(name).name, "")
        for target in targets:
            bundle.check_destination(destination(out, prepared.spec_name, target.name))
        jobs = [
            pool.submit(
                _build_target, prepared, t, recipe, workers[t.name], requests[t.name], out, say
            )
            for t in targets
        ]
        built = [job.result() for job in jobs]
        failed = [one.report for one in built if one.report is not None and not one.report.ok]
        if not can_mend(recipe, failed):
            return built
        say(Path(name).name, "choosing layers for float32")
        truth = prepared.truth.result()
        judge = Judge(truth.cases, truth.expected)
        better = mended(recipe, prepared.captured, prepared.program, judge, failed)
        say(Path(name).name, "")
    return _build_missing(name, targets, better, weights, requests, out, say)


@dataclass(frozen=True)
class _Prepared:
    """What all targets of one build share; the truth is computed while they convert."""

    captured: Program
    program: Program
    ledger: tuple[PassRecord, ...]
    export: Export
    cases: tuple[str, ...]
    truth: Future[Reference]
    inputs: frozenset[Path]
    model: dict[str, object]
    pruned: bool

    @property
    def spec_name(self) -> str:
        return self.program.spec.name

    @classmethod
    def of(
        cls,
        name: str,
        targets: tuple[Target, ...],
        recipe: Recipe,
        weights: Path | None,
        metric: bool,
        work: Path,
        pool: ThreadPoolExecutor,
        say: Say,
    ) -> _Prepared:
        from converters.capture import capture, export
        from toolchain.data import cases
        from toolchain.recipes import pass_report, pipeline

        with cache.recording() as inputs:
            spec = lookup.load(name)
            file = recipe.weights_of(spec, weights)
            captured = capture(spec, file)
            feeders = _feeders(captured.spec)
        names = cases.CASES + (feeders[0] if feeders else captured).spec.cases
        told = functools.partial(say, Path(name).name)
        examine = pass_report.examiner(captured, told) if metric else pass_report.examine_nothing
        shipped, entries = pipeline.record(captured, recipe.load(), examine)
        needs_onnx = any(t.needs_onnx for t in targets)
        exported = export(shipped, work, onnx=needs_onnx)
        described = _describe(captured, file)
        truth = pool.submit(_truth, feeders, captured, shipped, recipe, names)
        kept = frozenset(inputs)
        pruned = file not in (weights, spec.weights)
        return cls(captured, shipped, entries, exported, names, truth, kept, described, pruned)


def _feeders(spec: ModelSpec) -> list[Program]:
    """The trunk of a head, after the trunk of that trunk: what makes its inputs of pictures."""
    from converters.capture import capture

    if spec.fed_by is None:
        return []
    feeder = capture(lookup.load(spec.fed_by))
    return [*_feeders(feeder.spec), feeder]


def _truth(
    feeders: list[Program],
    captured: Program,
    shipped: Program,
    recipe: Recipe,
    names: tuple[str, ...],
) -> Reference:
    """What PyTorch makes of the cases, which a head is given by the programs before it."""
    from toolchain.data import cases
    from toolchain.quantization import tolerance

    given = cases.build((feeders[0] if feeders else captured).spec.inputs, names)
    for program in feeders:
        given = _answers(program, given)
    expected = _answers(shipped if recipe.lossy else captured, given)
    outputs = captured.spec.outputs
    if recipe.integer:
        outputs = tolerance.widened(outputs, expected, _answers(tolerance.jittered(shipped), given))
    return Reference(given, expected, outputs)


def _answers(
    program: Program, given: dict[str, dict[str, np.ndarray]]
) -> dict[str, dict[str, np.ndarray]]:
    from converters.reference import ReferenceRunner

    runner = ReferenceRunner(program)
    return {case: runner.run(inputs) for case, inputs in given.items()}


def _describe(program: Program, weights: Path | None) -> dict[str, object]:
    from model_defs.counting import parameters

    return {
        "name": program.spec.name,
        "summary": program.spec.summary,
        "parameters": parameters(program.module),
        "weights": describe_weights(weights),
    }


def describe_weights(path: Path | None) -> str:
    """A weights file and its digest, or that there is none."""
    return f"{path.name}, sha256 {bundle.file_digest(path)}" if path else "untrained, seed 0"


def _build_target(
    prepared: _Prepared,
    target: Target,
    recipe: Recipe,
    worker: Worker,
    request: Request,
    out: Path,
    say: Say,
) -> Built:
    spec = prepared.program.spec
    what = f"{spec.name}-{target.name}"
    where = destination(out, spec.name, target.name)
    described = {
        "model": prepared.model,
        "export": prepared.export.to_json() | {"directory": ""},
        "keep": dict(recipe.keep),
        "cases": list(prepared.cases),
    }
    key = cache.key(prepared.export.digest, described, request)
    known = cache.open_object(key)
    if known is not None:
        cache.store(request, prepared.inputs, key, known.directory)
        return _ship_cached(known, out)
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
            manifest = _manifest(prepared, target, recipe, artifact, report)
            if target.format == "coreml":
                manifest["compute"] = request.compute
            sealed = bundle.seal(stage, manifest)
            if not report.ok:
                rejected = cache.keep_rejected(sealed)
                return Built(spec.name, target.name, report=report, rejected=rejected)
            cache.store(request, prepared.inputs, key, sealed.directory)
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
    runner = formats.open_runner(artifact)
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


def _manifest(
    prepared: _Prepared, target: Target, recipe: Recipe, artifact: Artifact, report: ParityReport
) -> dict[str, object]:
    from toolchain.quantization import tolerance

    spec, truth = prepared.program.spec, prepared.truth.result()
    stage = artifact.path.parent
    return {
        "model": prepared.model,
        "target": target.name,
        "recipe": {
            "name": recipe.name,
            "passes": list(recipe.steps),
            "layers": dict(recipe.layers),
            "keep": {**recipe.keep, **prepared.program.kept},
            "pruned": prepared.pruned,
            "ledger": [entry.to_json() for entry in prepared.ledger],
        },
        "inputs": [t.to_json() for t in spec.inputs],
        "outputs": [t.to_json() for t in truth.outputs],
        "artifact": artifact.to_json(),
        "notes": [*prepared.program.notes, *tolerance.notes(spec.outputs, truth.outputs)],
        "parity": report.to_json(),
        "golden": [_write_golden(stage, case, truth) for case in GOLDEN],
        "tools": tools(),
    }


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
    return {"mlship": version("mlship"), **{name: version(name) for name in names}}
