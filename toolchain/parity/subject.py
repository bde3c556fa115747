"""What is compared with PyTorch: a bundle, and what PyTorch makes of its model's inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.api import Artifact, Tensors
from converters.stepping import with_state
from model_defs import lookup, zoo
from model_defs.errors import BadBundle
from model_defs.spec import ModelSpec, TensorSpec, said_state
from toolchain.bundle import tensor_files
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.files import file_digest
from toolchain.bundle.weights import UNTRAINED
from toolchain.data import cases, sequences
from toolchain.data.trunks import Cases, Trunks
from toolchain.parity import reference
from toolchain.parity.reference import Reference
from toolchain.recipes import recipes
from toolchain.recipes.recipes import Recipe

if TYPE_CHECKING:
    from converters.api import Program


@dataclass(frozen=True)
class Subject:
    """A bundle, and the reference that it is compared with.

    `program` is the model before any pass; None where only the bundle is known, which is then
    compared with its golden vectors. `further` are the same at the bundle's other sizes.
    """

    bundle: Bundle
    reference: Reference
    program: Program | None = None
    further: Mapping[str, Subject] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.bundle.name}-{self.bundle.target}"

    @property
    def inputs(self) -> Cases:
        """The inputs of each case."""
        return self.reference.cases

    @property
    def expected(self) -> Mapping[str, Tensors]:
        """What PyTorch makes of each case."""
        return self.reference.expected

    @property
    def macs(self) -> int:
        """The model's multiply-adds for one case; 0 where they are not known."""
        return self.reference.macs

    @property
    def artifact(self) -> Artifact:
        return self.bundle.artifact

    @property
    def recipe(self) -> Recipe:
        """What the bundle was built with."""
        return recipes.of_manifest(self.bundle.manifest.recipe)


class Subjects:
    """Makes subjects of bundles; captures each model once, and runs it once on all its cases.

    `folder` has pictures of the user's own, `weights` are the model's; `case` is the only one
    that is looked at, "" the first; all if there is none.
    """

    def __init__(
        self,
        folder: Path | None,
        weights: Path | None,
        case: str | None,
        trust_pickle: bool = False,
    ) -> None:
        self._folder, self._weights, self._case = folder, weights, case
        self._trust_pickle = trust_pickle
        self._programs: dict[tuple[str | ModelSpec, bool], Program] = {}
        self._cases: dict[ModelSpec, Cases] = {}
        self._references: dict[tuple[ModelSpec, str, bool], Reference] = {}

    def of(self, bundle: Bundle, model: str | ModelSpec | None) -> Subject:
        """A bundle with its reference; its `model` where the zoo does not have it.

        Raises BadBundle where it is not a bundle of that model.
        """
        if model is None and not self._is_known(bundle):
            return of_golden(bundle, f"golden vectors: {_unknown(bundle)}")
        if model is None or isinstance(model, str):
            (model,) = lookup.expand(model or bundle.name)
        recipe = recipes.of_manifest(bundle.manifest.recipe)
        program = self._program(model, recipe)
        if not program.spec.state:  # a file says none: it was said when the bundle was built
            program = replace(program, spec=with_state(program.spec, bundle.state))
        _check_same(bundle, program)
        made = self._reference(program, recipe, bundle)
        rest = {size: self._at(size, bundle, program, made) for size in bundle.sizes[1:]}
        return Subject(bundle, made, program, rest)

    def _at(self, size: str, bundle: Bundle, program: Program, default: Reference) -> Subject:
        """The bundle at a further size of its own, compared with the same program there."""
        seen = bundle.at(size)
        spec = replace(program.spec, inputs=seen.inputs, outputs=seen.outputs)
        cases = self._case_arrays(spec)
        made = reference.at(default, seen.outputs, spec, cases)
        made = made if self._case is None else made.only(self._case)
        return Subject(seen, made, replace(program, spec=spec))

    def _is_known(self, bundle: Bundle) -> bool:
        untrained = bundle.manifest.model.weights == UNTRAINED
        named = bundle.name in zoo.MODELS
        return named and (self._weights is not None or untrained or _own_weights(bundle))

    def _program(self, model: str | ModelSpec, recipe: Recipe) -> Program:
        from converters.capture import capture

        key = model, bool(recipe.pruned)
        if key not in self._programs:
            spec = lookup.load(model)
            file = recipe.weights_of(spec, self._weights)
            self._programs[key] = capture(spec, file, trust_pickle=self._trust_pickle)
        return self._programs[key]

    def _reference(self, program: Program, recipe: Recipe, bundle: Bundle) -> Reference:
        """Kept, but of one model and recipe at a time, for the arrays are large."""
        key = program.spec, recipe.key, bool(recipe.pruned)
        if key not in self._references:
            made = reference.of_model(recipe, program, self._inputs(program.spec))
            made = made if self._case is None else made.only(self._case)
            self._references = {key: made}
        return self._references[key]

    def _inputs(self, spec: ModelSpec) -> Cases:
        """The cases of a model, of one at a time."""
        if spec not in self._cases:
            self._cases = {spec: self._case_arrays(spec)}
        return self._cases[spec]

    def _case_arrays(self, spec: ModelSpec) -> Cases:
        trunks = Trunks.of(spec)
        if self._folder is not None:
            return trunks.cases_of_folder(self._folder)
        first = trunks.first
        names = cases.names_for(tuple(t for t in first.inputs if t.name not in first.state))
        # Of the steps of a sequence, the last needs all before it.
        base = sequences.parts_of(self._case or names[0])[0]
        one = self._case is not None and base in names
        return trunks.build_cases((base,) if one else names)


def of_golden(bundle: Bundle, name: str = "golden vectors") -> Subject:
    """A bundle with the reference that it carries: it is judged by its own words alone."""
    inputs, expected = golden(bundle)
    faithful = _golden_faithful(bundle, inputs, expected)
    held = (inputs, expected, bundle.outputs, name)
    known = Reference(*held, state=bundle.state, faithful=faithful)
    rest = {size: of_golden(bundle.at(size), name) for size in bundle.sizes[1:]}
    return Subject(bundle, known, further=rest)


def _golden_faithful(bundle: Bundle, inputs: Cases, expected: Cases) -> Reference | None:
    """What the rounded program makes of golden vectors, and what rounding moved when it was built.

    None where the bundle does not say: an older one, one with state, and a further size of one
    that rounds.
    """
    from toolchain.parity.compare import KERNELS

    manifest = bundle.manifest
    rows = manifest.parity.report.of("faithful")
    recipe = recipes.of_manifest(manifest.recipe)
    if not rows or bundle.state:
        return None
    rounded = {
        Path(name).stem: _vectors(bundle, name, bundle.outputs) for name in manifest.golden_rounded
    }
    if rounded:
        inputs, expected = {case: inputs[case] for case in rounded}, rounded
    elif not (recipe.lossy or recipe.exact):
        return None
    moved: dict[str, dict[str, float]] = {}
    for row in rows:
        moved.setdefault(row.case, {})[row.output] = (row.tolerance or 0.0) / KERNELS
    name = "the rounded program"
    how = Reference(inputs, expected, bundle.outputs, name, question="faithful")
    return replace(how, known_roundings=moved)


def golden(bundle: Bundle) -> tuple[Cases, Cases]:
    """The bundle's golden vectors: (inputs, PyTorch's outputs when it was built) by case."""
    inputs, expected = {}, {}
    for name in bundle.manifest.golden:
        inputs[Path(name).stem] = _vectors(bundle, name, bundle.inputs)
        expected[Path(name).stem] = _vectors(bundle, name, bundle.outputs)
    return inputs, expected


def _vectors(bundle: Bundle, name: str, specs: Collection[TensorSpec]) -> dict[str, np.ndarray]:
    return tensor_files.read(bundle.directory / name, specs, BadBundle)


def _own_weights(bundle: Bundle) -> bool:
    spec = lookup.load(bundle.name)
    known = [path for path in (spec.weights, spec.pruned) if path is not None and path.is_file()]
    return bundle.manifest.model.weights.sha256 in map(file_digest, known)


def _unknown(bundle: Bundle) -> str:
    if bundle.name in zoo.MODELS:
        return "built with weights that were not given (--weights FILE)"
    return f"'{bundle.name}' is not in the zoo (--model path/to/file.py:spec)"


def _check_same(bundle: Bundle, program: Program) -> None:
    """BadBundle unless the model's tensors are those of the bundle."""
    spec = program.spec
    for noun, ours, theirs in (
        ("input", spec.inputs, bundle.inputs),
        ("output", spec.outputs, bundle.outputs),
    ):
        if [(t.name, t.shape) for t in ours] != [(t.name, t.shape) for t in theirs]:
            raise BadBundle(
                f"{noun}s {', '.join(t.name for t in theirs)} are not those of {spec.name}",
                where=str(bundle.directory),
                do="build the bundle again, or name its model with --model",
            )
        for mine, its in zip(ours, theirs, strict=True):
            _check_word(noun, mine, its, bundle)
    if dict(bundle.state) != dict(spec.state):
        raise BadBundle(
            f"the bundle says state is {said_state(bundle.state)}, {spec.name} "
            f"{said_state(spec.state)}",
            where=str(bundle.directory),
            do="build the bundle again: an app would feed it wrongly",
        )


def _check_word(noun: str, ours: TensorSpec, theirs: TensorSpec, bundle: Bundle) -> None:
    """BadBundle, naming each field, where a bundle says otherwise of a tensor than the model.

    Its sizes may be more than the specification's: they were asked for. A file that computes in
    integers is held to what integers move, which is found again.
    """
    skipped = {"sizes"}
    if recipes.of_manifest(bundle.manifest.recipe).integer:
        skipped.add("tolerance")
    left, right = (_flat(asdict(one)) for one in (ours, theirs))
    said = [
        f"{name} is {right.get(name, 'unset')!r}, the model {left.get(name, 'unset')!r}"
        for name in dict.fromkeys([*left, *right])
        if name not in skipped and left.get(name, "unset") != right.get(name, "unset")
    ]
    if said:
        raise BadBundle(
            f"{noun} '{ours.name}': the bundle says {'; '.join(said)}",
            where=str(bundle.directory),
            do="build the bundle again: an app would feed or read it wrongly",
        )


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, those of a rule for pixels among them, by its name where both have one."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        for own, one in value.items() if isinstance(value, dict) else ((name, value),):
            found[f"{own} of {name}" if own in fields and own != name else own] = one
    return {name: value for name, value in found.items() if value is not None}
