"""A model that runs: a bundle on a backend of this machine, or PyTorch itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from converters import backends, formats
from converters.api import Artifact, Runner
from model_defs.errors import UnknownName
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.weights import UNTRAINED, WeightsOrigin

if TYPE_CHECKING:
    from converters.api import Program


@dataclass(frozen=True)
class RunningModel:
    """What goes in, what comes out, what runs it until it is closed, and with which weights."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    runner: Runner
    weights: WeightsOrigin = UNTRAINED

    @classmethod
    def of_bundle(
        cls, bundle: Bundle, backend: str | None = None, file: Path | None = None
    ) -> Self:
        """A bundle on a backend, by default its format's main one; a `file` in place of its own.

        Raises UnknownName for a backend that is not its format's, BadArtifact for another's
        tensors.
        """
        artifact = bundle.artifact if file is None else replace(bundle.artifact, path=file)
        runner = _opened(artifact, backend)
        return cls(bundle.inputs, bundle.outputs, runner, bundle.manifest.model.weights)

    @classmethod
    def of_spec(cls, spec: ModelSpec, weights: Path | None = None) -> Self:
        """A model in PyTorch, with its own weights or those of a file."""
        from converters.capture import capture

        return cls.of_program(capture(spec, weights), WeightsOrigin.of(weights or spec.weights))

    @classmethod
    def of_program(cls, program: Program, weights: WeightsOrigin = UNTRAINED) -> Self:
        """A program in PyTorch, as it is after the passes that it has been through."""
        from converters.reference import ReferenceRunner

        spec = program.spec
        return cls(spec.inputs, spec.outputs, ReferenceRunner(program), weights)


def _opened(artifact: Artifact, backend: str | None) -> Runner:
    if backend is None:
        return formats.open_runner(artifact)
    found = backends.find(backend)
    if found.format != artifact.format:
        names = [b.name for b in backends.of_format(artifact.format)]
        raise UnknownName.among(f"backend of {artifact.format}", found.name, names)
    return found.open(artifact)
