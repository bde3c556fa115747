"""Runs a package: in Core ML itself on a Mac, elsewhere its saved program in `converters.mil`.

The latter shows that the numbers are right, not how fast they come.
"""

from __future__ import annotations

import functools
import sys

import numpy as np

from converters import mil
from converters.api import Artifact, Runner, Tensors
from converters.coreml.ports import check_ports
from converters.coreml.tools import coremltools
from converters.mil.runtime import Interpreter
from model_defs.errors import BadArtifact


def open_runner(artifact: Artifact, compute: str = "all") -> Runner:
    """Core ML itself on a Mac (`compute`: a key of UNITS), else `mil`."""
    if sys.platform == "darwin":
        return CoreMlRunner(artifact, compute)
    return MilRunner(artifact)


class MilRunner:
    """Executes the saved program over torch: the whole of it, not only what its types promise."""

    backend = "mil"
    precision = "exact"

    def __init__(self, artifact: Artifact) -> None:
        package = mil.open_package(artifact.path)
        check_ports(artifact, package)
        self._ports = artifact
        self._interpreter = package.at(artifact.entry).interpreter(self.precision)

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        stored = self._interpreter.run(_stored(self._ports, inputs))
        return _logical(self._ports, stored)

    def close(self) -> None:
        del self._interpreter


class WeightsOnlyRunner(MilRunner):
    """The saved program with its own weights, but float32 arithmetic."""

    backend = "mil-weights-only"
    precision = "weights-only"

    @functools.cached_property
    def _nudged(self) -> tuple[Interpreter, ...]:
        """The program planned with other numbers of fp16, once for all cases."""
        function = self._interpreter.function
        return tuple(Interpreter(function, self.precision, seed) for seed in range(DRAWS))

    def close(self) -> None:
        super().close()
        self.__dict__.pop("_nudged", None)

    def moved(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """See `converters.api.RoundsNumbers`: attention's scale, a norm's epsilon are fp16."""
        stored, own = _stored(self._ports, inputs), self.run(inputs)
        found = {name: np.zeros(array.shape) for name, array in own.items()}
        for nudged in self._nudged:
            other = _logical(self._ports, nudged.run(stored))
            for name, array in own.items():
                difference = np.abs(array.astype(np.float64) - other[name])
                found[name] = np.maximum(found[name], difference)
        return found


DRAWS = 3


UNITS = {
    "all": "coreml",
    "cpu_only": "coreml-cpu",
    "cpu_and_gpu": "coreml-gpu",
    "cpu_and_ne": "coreml-ane",
}
"""Compute units, and the backend that Core ML is with them."""


class CoreMlRunner:
    """Core ML through coremltools' documented `MLModel.predict`; only on macOS."""

    def __init__(self, artifact: Artifact, compute: str = "all") -> None:
        ct = coremltools()
        self.backend = UNITS[compute]
        self._ports = artifact
        self._model = ct.models.MLModel(
            str(artifact.path),
            compute_units=ct.ComputeUnit[compute.upper()],
            function_name=artifact.entry or None,
        )

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        return _logical(self._ports, self._model.predict(_stored(self._ports, inputs)))

    def close(self) -> None:
        del self._model


def _stored(artifact: Artifact, inputs: Tensors) -> dict[str, np.ndarray]:
    names = {p.name for p in artifact.inputs}
    if set(inputs) != names:
        raise BadArtifact(f"inputs {', '.join(sorted(inputs))} for {', '.join(sorted(names))}")
    return {p.stored_as: p.to_stored(inputs[p.name]) for p in artifact.inputs}


def _logical(artifact: Artifact, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    missing = [p.stored_as for p in artifact.outputs if p.stored_as not in stored]
    if missing:
        raise BadArtifact(f"output '{missing[0]}' is missing", where=str(artifact.path))
    return {p.name: p.to_logical(np.asarray(stored[p.stored_as])) for p in artifact.outputs}
