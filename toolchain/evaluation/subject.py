"""What is evaluated: a model in PyTorch, or a bundle on a backend of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from converters import backends, formats
from converters.api import Artifact, Runner, Tensors
from model_defs import lookup
from model_defs.errors import BadBundle, UnknownName
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.bundle import bundle as bundles
from toolchain.bundle.weights import WeightsOrigin
from toolchain.evaluation.dataset import Predict

if TYPE_CHECKING:
    from converters.api import Program


@dataclass(frozen=True)
class EvaluatedModel:
    """A model that predicts; `inputs` are those of the trunk for a head."""

    name: str
    backend: str
    weights: str
    inputs: tuple[TensorSpec, ...]
    predict: Predict


@contextmanager
def opened(
    what: str,
    backend: str | None = None,
    weights: Path | None = None,
    file: Path | None = None,
) -> Iterator[EvaluatedModel]:
    """A bundle's folder on a backend (by default its format's main one), or a model in PyTorch.

    A `file` stands in for the bundle's own, and has to have its tensors. Raises UnknownName for a
    backend that is not its format's, BadArtifact for another's tensors, BadBundle for a model's
    name with a backend or a file.
    """
    with ExitStack() as stack:
        if Path(what).is_dir():
            yield _of_bundle(Path(what), backend, file, stack)
            return
        if backend not in (None, "pytorch") or file is not None:
            cannot = f"{file} cannot stand in for its file" if file else f"{backend} cannot run it"
            raise BadBundle(
                f"{what} is a model, not a bundle, so that {cannot}",
                do="mlship build it first, and name the bundle's folder",
            )
        (name,) = lookup.expand(what)
        yield _of_model(name, weights)


def _of_model(name: str, weights: Path | None) -> EvaluatedModel:
    from converters.capture import capture

    program = capture(lookup.load(name), weights)
    return of_program(program, str(WeightsOrigin.of(weights or program.spec.weights)))


def of_program(program: Program, weights: str) -> EvaluatedModel:
    """A program in PyTorch, as it is after the passes that it has been through."""
    from converters.reference import ReferenceRunner

    return _subject(program.spec, "pytorch", weights, ReferenceRunner(program))


def _of_bundle(
    folder: Path, backend: str | None, file: Path | None, stack: ExitStack
) -> EvaluatedModel:
    read = bundles.read(folder)
    artifact = read.artifact
    if file is not None:
        artifact = replace(artifact, path=file)
    runner = _runner(artifact, backend)
    stack.callback(runner.close)
    weights = str(file or read.manifest.model.weights)
    return _subject(lookup.load(read.name), runner.backend, weights, runner)


def _runner(artifact: Artifact, backend: str | None) -> Runner:
    if backend is None:
        return formats.open_runner(artifact)
    found = backends.find(backend)
    if found.format != artifact.format:
        names = [b.name for b in backends.of_format(artifact.format)]
        raise UnknownName.among(f"backend of {artifact.format}", found.name, names)
    return found.open(artifact)


def _subject(spec: ModelSpec, backend: str, weights: str, runner: Runner) -> EvaluatedModel:
    """With the trunk of a head before it, in PyTorch."""
    (output, *_) = spec.outputs

    def predict(inputs: Tensors) -> np.ndarray:
        found = runner.run(inputs)[output.name]
        return nearness(found) if output.unit == "m" else found

    if spec.fed_by is None:
        return EvaluatedModel(spec.name, backend, weights, spec.inputs, predict)
    from converters.capture import capture
    from converters.reference import ReferenceRunner

    trunk = capture(lookup.load(spec.fed_by))
    feed = ReferenceRunner(trunk).run
    return EvaluatedModel(
        spec.name, backend, weights, trunk.spec.inputs, lambda inputs: predict(feed(inputs))
    )


def nearness(metres: np.ndarray) -> np.ndarray:
    """Metres as inverse depth, 1 where it is nearest."""
    inverse = 1 / np.maximum(metres, 0.1)
    return np.asarray(inverse / inverse.max())
