"""Runs a .tflite file in LiteRT on the CPU, with XNNPACK, in a process of its own."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from converters.api import Artifact, Tensors
from converters.processes.binding import Declared, check_ports, take_inputs
from converters.processes.host import Host, Spare
from model_defs.errors import BackendUnavailable, BadArtifact
from model_defs.installation import IMPORTED_FROM

SECONDS = 600.0
"""How long loading or one run may take."""


def open_runner(artifact: Artifact) -> LiteRTRunner:
    """The file, loaded; BadArtifact if it is malformed or does not hold what the ports say."""
    return LiteRTRunner(artifact)


class LiteRTRunner:
    """Binds tensors by the names of the file's signature, never by position."""

    backend = "litert"

    def __init__(
        self, artifact: Artifact, seconds: float = SECONDS, kernels: str = "xnnpack"
    ) -> None:
        self.artifact, self.seconds = artifact, seconds
        self._host, declared = start(artifact.path, seconds, kernels, entry=artifact.entry)
        try:
            check_ports("input", artifact.inputs, _types(declared["inputs"]))
            check_ports("output", artifact.outputs, _types(declared["outputs"]))
        except BadArtifact:
            self.close()
            raise

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        header, results = self._host.ask(
            {}, take_inputs(self.artifact.inputs, inputs), self.seconds
        )
        if "error" in header:
            raise BadArtifact(f"LiteRT cannot run the model: {header['error']}")
        outputs = self.artifact.outputs
        return {port.name: port.to_logical(results[port.stored_as]) for port in outputs}

    def close(self) -> None:
        self._host.close()


class ReferenceKernelsRunner(LiteRTRunner):
    """A .tflite file in LiteRT's plain kernels: no XNNPACK, no SIMD, no threads."""

    backend = "litert-reference"

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact, kernels="reference")


def intermediates(
    artifact: Artifact, inputs: Tensors, kernels: str = "xnnpack"
) -> dict[str, np.ndarray]:
    """Every tensor that an operation of the file computes, as it is stored."""
    host, _ = start(artifact.path, kernels=kernels, preserve=True, entry=artifact.entry)
    try:
        header, found = host.ask({}, take_inputs(artifact.inputs, inputs), SECONDS)
    finally:
        host.close()
    if "error" in header:
        raise BadArtifact(f"LiteRT cannot run the model: {header['error']}")
    return found


def start(
    path: Path,
    seconds: float = SECONDS,
    kernels: str = "xnnpack",
    *,
    preserve: bool = False,
    entry: str = "",
) -> tuple[Host, dict[str, Any]]:
    """A process that has loaded the file, and the tensors that this entry of it declares."""
    if find_spec("ai_edge_litert") is None:
        raise BackendUnavailable("LiteRT is not installed", do="pip install ai-edge-litert")
    if not path.is_file():
        raise BadArtifact("the model file does not exist", where=str(path))
    host = _spare.take()
    try:
        asked = {"path": str(path), "kernels": kernels, "preserve": preserve, "entry": entry}
        header, _ = host.ask(asked, {}, seconds)
        if "error" in header:
            said = f"{path.name} is not a model: {str(header['error']).strip()}"
            raise BadArtifact(said, where=str(path))
    except BadArtifact:
        host.close()
        raise
    return host, header["declared"]


def prepare() -> None:
    """Start the process of the next runner, so that it loads LiteRT meanwhile."""
    _spare.prepare()


def _process() -> Host:
    command = [sys.executable, "-P", "-m", "converters.tflite.host"]
    return Host(
        "LiteRT", command, env={"PYTHONPATH": str(IMPORTED_FROM), "PYTHONWARNINGS": "ignore"}
    )


_spare = Spare(_process)


def _types(declared: dict[str, Any]) -> Declared:
    return {name: (tuple(shape), kind) for name, (shape, kind) in declared.items()}
