"""What is evaluated: a model in PyTorch, or a bundle on a backend of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from converters.api import Tensors
from model_defs import lookup, zoo
from model_defs.errors import BadBundle, UnknownName
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.bundle import bundle as bundles
from toolchain.bundle.running import RunningModel
from toolchain.data.trunks import Trunks
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
    spec = lookup.load(name)
    running = RunningModel.of_spec(spec, weights)
    return _predicting(spec, running, str(running.weights))


def of_program(program: Program, weights: str) -> EvaluatedModel:
    """A program in PyTorch, as it is after the passes that it has been through."""
    return _predicting(program.spec, RunningModel.of_program(program), weights)


def _of_bundle(
    folder: Path, backend: str | None, file: Path | None, stack: ExitStack
) -> EvaluatedModel:
    read = bundles.read(folder)
    if read.name not in zoo.MODELS:  # what a file says is a name, never code to be imported
        raise UnknownName.among("model of the zoo", read.name, zoo.MODELS)
    running = RunningModel.of_bundle(read, backend, file)
    stack.callback(running.runner.close)
    return _predicting(lookup.load(read.name), running, str(file or running.weights))


def _predicting(spec: ModelSpec, running: RunningModel, weights: str) -> EvaluatedModel:
    """With the trunks of a head before it, in PyTorch."""
    (output, *_) = spec.outputs
    trunks = Trunks.of(spec)

    def predict(inputs: Tensors) -> np.ndarray:
        found = running.runner.run(trunks.feed(inputs))[output.name]
        return nearness(found) if output.unit == "m" else found

    return EvaluatedModel(spec.name, running.runner.backend, weights, trunks.first.inputs, predict)


def nearness(metres: np.ndarray) -> np.ndarray:
    """Metres as inverse depth, 1 where it is nearest."""
    inverse = 1 / np.maximum(metres, 0.1)
    return np.asarray(inverse / inverse.max())
