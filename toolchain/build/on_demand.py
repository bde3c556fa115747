"""What `mlship parity` and `mlship blame` look at: bundles, and what PyTorch answers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from converters.api import Artifact, Tensors
from converters.progress import Say
from model_defs import lookup, zoo
from model_defs.errors import BadBundle, UnknownName
from model_defs.spec import TensorSpec
from toolchain.build.build import build
from toolchain.build.request import BuildRequest, Built
from toolchain.bundle import bundle as bundles
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.files import file_digest
from toolchain.bundle.weights import UNTRAINED
from toolchain.data import cases
from toolchain.recipes import recipes
from toolchain.recipes.recipes import Recipe
from toolchain.recipes.targets import Target

if TYPE_CHECKING:
    from converters.api import Program

Cases = dict[str, dict[str, np.ndarray]]
T = TypeVar("T")


@dataclass(frozen=True)
class Subject:
    """A bundle, the inputs that it is compared on, and what PyTorch makes of them.

    `program` is the model before any pass; None where only the bundle is known, which is then
    compared on its golden vectors. `reference` says which it was.
    """

    bundle: Bundle
    inputs: Cases
    expected: Mapping[str, Tensors]
    program: Program | None
    reference: str

    @property
    def name(self) -> str:
        return f"{self.bundle.name}-{self.bundle.target}"

    @property
    def artifact(self) -> Artifact:
        return self.bundle.artifact

    @property
    def macs(self) -> int:
        """The model's multiply-adds for one case; 0 where they are not known."""
        return self.expected.macs if isinstance(self.expected, Truth) else 0

    @property
    def recipe(self) -> Recipe:
        """What the bundle was built with."""
        return recipes.of_manifest(self.bundle.manifest.recipe)

    @property
    def exact(self) -> bool:
        """Whether its recipe promises float32's precision."""
        return self.recipe.exact


@dataclass(frozen=True)
class Wanted:
    """What the user asked for, beside the names of models and bundles.

    `case` is the only one that is looked at, "" the first; all if there is none.
    """

    targets: tuple[Target, ...]
    recipe: Recipe
    folder: Path | None = None
    model: str | None = None
    weights: Path | None = None
    case: str | None = None


def find(names: Iterable[str], wanted: Wanted, work: Path, say: Say) -> Iterator[Subject | Built]:
    """A subject for each bundle, and for each target of each model, which is built into `work`.

    A model whose build fails is yielded as what the build says of it. Raises UnknownName,
    BadBundle, and what capturing raises.
    """
    if wanted.folder is not None:
        cases.pictures_in(wanted.folder)
    truths = _Truths(wanted.folder, wanted.weights, wanted.case)
    for name in names:
        if is_bundle(name):
            yield truths.of(bundles.read(Path(name)), wanted.model)
            continue
        for model in lookup.expand(name):
            request = BuildRequest(
                (model,), wanted.targets, wanted.recipe, weights=wanted.weights, out=work
            )
            for one in build(request, say):
                yield one if one.bundle is None else truths.of(one.bundle, model)


def each(
    names: Iterable[str], wanted: Wanted, act: Callable[[Subject], T], say: Say
) -> tuple[list[T], list[Built]]:
    """What comes of each subject, and what could not be built. Raises what `find` raises."""
    done: list[T] = []
    unbuilt: list[Built] = []
    with tempfile.TemporaryDirectory(prefix="mlship-") as work:
        for found in find(names, wanted, Path(work), say):
            if isinstance(found, Built):
                unbuilt.append(found)
            else:
                done.append(act(found))
    return done, unbuilt


def is_bundle(name: str) -> bool:
    """Whether this names a bundle's folder and no model. BadBundle for one that is not there."""
    if Path(name).is_dir():
        return True
    if ".py" not in name and ("/" in name or name.endswith((".mlpackage", ".tflite", ".tfjs"))):
        raise BadBundle("there is no bundle here", where=name, do="pass the folder of a bundle")
    return False


class Truth(Mapping[str, Tensors]):
    """What PyTorch makes of each case, computed when it is asked for and kept."""

    def __init__(self, program: Program, inputs: Cases) -> None:
        from converters.reference import ReferenceRunner

        self.inputs = inputs
        self._runner = ReferenceRunner(program)
        self._known: dict[str, Tensors] = {}

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of the convolutions and matrix products for one case."""
        from model_defs.counting import counted

        first = next(iter(self.inputs))
        self._known[first], macs = counted(lambda: self._runner.run(self.inputs[first]))
        return macs

    def __getitem__(self, case: str) -> Tensors:
        if case not in self._known:
            self._known[case] = self._runner.run(self.inputs[case])
        return self._known[case]

    def __iter__(self) -> Iterator[str]:
        return iter(self.inputs)

    def __len__(self) -> int:
        return len(self.inputs)


WHOLE = recipes.RECIPES["fp32"]
"""What trunks are built with, whose outputs heads are given."""

_Key = tuple[str, str]
"""A model, and whether the recipe wants the fewer channels of its pruned weights."""


class _Truths:
    """Captures each model once, and runs it once on all its cases."""

    def __init__(self, folder: Path | None, weights: Path | None, case: str | None) -> None:
        self._folder, self._weights, self._case = folder, weights, case
        self._programs: dict[_Key, Program] = {}
        self._truths: dict[_Key, Truth] = {}

    def of(self, bundle: Bundle, model: str | None) -> Subject:
        name = model or bundle.name
        if model is None and not self._is_known(bundle):
            inputs, expected = golden(bundle)
            why = f"golden vectors: {_unknown(bundle)}"
            return Subject(bundle, inputs, expected, None, why)
        (name,) = lookup.expand(name)
        recipe = recipes.of_manifest(bundle.manifest.recipe)
        program = self._program(name, recipe)
        _check_same(bundle, program)
        from toolchain.recipes import pipeline

        if recipe.lossy:
            truth = Truth(pipeline.run(program, recipe.load()), self._inputs(program))
            return Subject(bundle, truth.inputs, truth, program, f"PyTorch after {recipe.name}")
        truth = self._truth(name, recipe)
        return Subject(bundle, truth.inputs, truth, program, "PyTorch")

    def _is_known(self, bundle: Bundle) -> bool:
        untrained = bundle.manifest.model.weights == UNTRAINED
        named = bundle.name in zoo.MODELS
        return named and (self._weights is not None or untrained or _own_weights(bundle))

    def _program(self, name: str, recipe: Recipe) -> Program:
        from converters.capture import capture

        key = name, recipe.pruned
        if key not in self._programs:
            spec = lookup.load(name)
            self._programs[key] = capture(spec, recipe.weights_of(spec, self._weights))
        return self._programs[key]

    def _truth(self, name: str, recipe: Recipe = WHOLE) -> Truth:
        key = name, recipe.pruned
        if key not in self._truths:
            program = self._program(name, recipe)
            feeder = program.spec.fed_by, WHOLE.pruned
            self._truths = {k: v for k, v in self._truths.items() if k == feeder}
            self._truths[key] = Truth(program, self._inputs(program))
        return self._truths[key]

    def _inputs(self, program: Program) -> Cases:
        """The cases of a program; a head's are what its trunk makes of the pictures."""
        spec = program.spec
        if spec.fed_by is not None:
            return {case: dict(outputs) for case, outputs in self._truth(spec.fed_by).items()}
        if self._folder is not None:
            return self._only(cases.of_folder(self._folder, spec.inputs))
        names = cases.names_for(spec.inputs)
        return cases.build(spec.inputs, tuple(self._only(dict.fromkeys(names))))

    def _only(self, found: dict[str, T]) -> dict[str, T]:
        """The case that was asked for, out of these."""
        if self._case is None:
            return found
        case = self._case or next(iter(found))
        if case not in found:
            raise UnknownName.among("case", case, found)
        return {case: found[case]}


def golden(bundle: Bundle) -> tuple[Cases, Cases]:
    """The bundle's golden vectors: (inputs, PyTorch's outputs when it was built) by case."""
    from safetensors.numpy import load_file

    inputs, expected = {}, {}
    for name in bundle.manifest.golden:
        tensors = load_file(bundle.directory / name)
        inputs[Path(name).stem] = {spec.name: tensors[spec.name] for spec in bundle.inputs}
        expected[Path(name).stem] = {spec.name: tensors[spec.name] for spec in bundle.outputs}
    return inputs, expected


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
            _check_rules(noun, mine, its, bundle)


def _check_rules(noun: str, ours: TensorSpec, theirs: TensorSpec, bundle: Bundle) -> None:
    """BadBundle where pixels become this tensor, or come from it, by other rules."""
    rules = (ours.preprocess or ours.postprocess, theirs.preprocess or theirs.postprocess)
    left, right = (asdict(rule) if rule is not None else {} for rule in rules)
    for name in left | right:
        if left.get(name) != right.get(name):
            raise BadBundle(
                f"{noun} '{ours.name}': the bundle says {name} is {right.get(name, 'unset')}, "
                f"the model {left.get(name, 'unset')}",
                where=str(bundle.directory),
                do="build the bundle again: an app would feed it wrongly",
            )
