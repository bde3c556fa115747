"""What all targets of one build share: the model captured, its recipe run, and its reference."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.progress import Say
from model_defs import lookup
from toolchain.build import cache
from toolchain.build.request import BuildRequest, title
from toolchain.bundle.weights import IN_MEMORY, WeightsOrigin

if TYPE_CHECKING:
    from converters.api import Export, Program
    from converters.format import Source
    from model_defs.errors import MlshipError
    from model_defs.spec import ModelSpec
    from toolchain.bundle.manifest import ModelEntry
    from toolchain.bundle.pass_record import PassRecord
    from toolchain.data.trunks import Trunks
    from toolchain.parity.reference import Reference
    from toolchain.recipes.recipes import Recipe


@dataclass(frozen=True)
class CapturedModel:
    """A model before any recipe, which all recipes of one build begin with.

    `weights` is the file that they were read from, `inputs` are all files that were read.
    """

    captured: Program
    trunks: Trunks
    weights: Path | None
    inputs: frozenset[Path]


@dataclass(frozen=True)
class PreparedSize:
    """The same module at a further size: its export, and its reference."""

    export: Export
    reference: Future[Reference]


@dataclass(frozen=True)
class Prepared:
    """A model before and after a recipe, exported; its reference is made while targets convert.

    `pruned` says that the recipe chose weights with fewer channels. `further` are the sizes beside
    the default, by their names.
    """

    request: BuildRequest
    before: CapturedModel
    program: Program
    records: tuple[PassRecord, ...]
    export: Export
    cases: tuple[str, ...]
    reference: Future[Reference]
    model: ModelEntry
    pruned: bool
    further: Mapping[str, PreparedSize] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.program.spec.name

    @property
    def captured(self) -> Program:
        return self.before.captured

    @property
    def inputs(self) -> frozenset[Path]:
        """The files that were read for it."""
        return self.before.inputs

    @property
    def recipe(self) -> Recipe:
        return self.request.recipe

    @property
    def references(self) -> Mapping[str, Future[Reference]]:
        """The reference of each size; "" is the default."""
        return {"": self.reference, **{n: size.reference for n, size in self.further.items()}}

    @property
    def digest(self) -> str:
        """Of the graphs and their numbers, of all sizes."""
        return " ".join([self.export.digest, *(s.export.digest for s in self.further.values())])

    def refused(self, source: Source) -> MlshipError | None:
        """Why a target that is made from this source cannot be; None where it can, at all sizes."""
        for name, size in {
            "": self.export,
            **{n: s.export for n, s in self.further.items()},
        }.items():
            if (error := size.refused.get(source)) is not None:
                what = f"at {name}: {error.what}" if name else error.what
                return type(error)(what, where=error.where, do=error.do)
        return None

    @property
    def described(self) -> dict[str, Any]:
        """What decides a bundle's bytes beside the graph and its numbers."""
        return {
            "model": self.model.model_dump(),
            "export": self.export.to_json() | {"directory": ""},
            "keep": dict(self.recipe.keep),
            "cases": list(self.cases),
            "state": dict(self.program.spec.state),
        }


def capture_model(model: str | ModelSpec, request: BuildRequest) -> CapturedModel:
    """Capture a model as a request wants it; raises what that raises."""
    from converters.capture import capture
    from converters.sizes import with_sizes
    from converters.stepping import with_state
    from toolchain.data.trunks import Trunks

    with cache.recording() as inputs:
        spec = with_state(with_sizes(lookup.load(model), request.sizes), request.state)
        file = request.recipe.weights_of(spec, request.weights)
        captured = capture(spec, file, trust_pickle=request.trust_pickle)
        trunks = Trunks.of(spec)
    return CapturedModel(captured, trunks, file, frozenset(inputs))


def prepare(
    before: CapturedModel,
    model: str | ModelSpec,
    request: BuildRequest,
    work: Path,
    pool: Executor,
    say: Say,
) -> Prepared:
    """Run the request's recipe on a model and export into `work`.

    Raises what these raise; what is refused of one target's export alone is in the export.
    """
    from converters.export import export_each
    from converters.sizes import at, at_size
    from toolchain.recipes import pass_report, pipeline

    recipe, captured, file = request.recipe, before.captured, before.weights
    spec, trunks = captured.spec, before.trunks
    say_of_model = functools.partial(say, title(model))
    evaluate: pass_report.Evaluate = pass_report.evaluate_nothing
    if request.evaluator is not None:
        evaluate = request.evaluator(captured, say_of_model)
    shipped, entries = pipeline.record(captured, recipe.load(), evaluate)
    sources = {t.made.source for t in request.targets}
    sizes = {name: at(captured, name).spec for name in captured.spec.size_names[1:]}
    exported = replace(export_each(shipped, work, sources), several=bool(sizes))
    exports = {}
    for name, sized in sizes.items():
        with at_size(name):
            found = export_each(replace(shipped, spec=sized), work / name, sources)
        exports[name] = replace(found, several=True)
    weights = WeightsOrigin.of(file)
    in_file = lookup.file_of_model(model) if isinstance(model, str) else None
    if file is None and in_file is not None:
        weights = _of_model_file(in_file[0])
    elif file is None and not isinstance(model, str):
        weights = IN_MEMORY
    reference = pool.submit(_reference, recipe, captured, shipped, trunks)
    # In this order: who waits for the reference in the pool was given to it later.
    further = {
        name: PreparedSize(
            export, pool.submit(_reference_at, recipe, reference, captured, shipped, sizes[name])
        )
        for name, export in exports.items()
    }
    return Prepared(
        request,
        before,
        shipped,
        entries,
        exported,
        trunks.case_names,
        reference,
        _describe(captured, weights),
        pruned=file not in (request.weights, spec.weights),
        further=further,
    )


def _of_model_file(path: Path) -> WeightsOrigin:
    """The weights of a file that holds the whole model; of a folder, of its first file of them."""
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    return WeightsOrigin.of(files[0]) if files else IN_MEMORY


def _reference(recipe: Recipe, captured: Program, shipped: Program, trunks: Trunks) -> Reference:
    from toolchain.parity import reference

    return reference.of_build(recipe, captured, shipped, trunks.build_cases())


def _reference_at(
    recipe: Recipe,
    default: Future[Reference],
    captured: Program,
    shipped: Program,
    spec: ModelSpec,
) -> Reference:
    from toolchain.data.trunks import Trunks
    from toolchain.parity import reference

    cases = Trunks.of(spec).build_cases()
    return reference.of_build_at(recipe, default.result(), captured, shipped, spec, cases)


def _describe(program: Program, weights: WeightsOrigin) -> ModelEntry:
    from model_defs.counting import parameters
    from toolchain.bundle.manifest import ModelEntry

    return ModelEntry(
        name=program.spec.name,
        summary=program.spec.summary,
        parameters=parameters(program.module),
        weights=weights,
    )
