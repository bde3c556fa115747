"""Runs a TF.js model in Node on WebAssembly with SIMD, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.api import Artifact, Tensors
from converters.processes import nodes
from converters.processes.binding import Declared, check_ports, take_inputs
from converters.processes.host import Host, Spare
from model_defs.errors import BadArtifact

MODEL = "model.json"
"""The graph that a folder opens at."""
NODE = Path(__file__).resolve().parent / "node"
SECONDS = 600.0
"""How long loading or one run may take."""

KINDS = {"DT_FLOAT": "float32", "DT_INT32": "int32", "DT_BOOL": "bool"}


def open_runner(artifact: Artifact) -> NodeRunner:
    """The folder, loaded in Node; BackendUnavailable where Node or its packages are missing."""
    return NodeRunner(artifact)


class NodeRunner:
    """Binds tensors by the names of the model's signature; one process for all runs."""

    backend = "tfjs-wasm"

    def __init__(self, artifact: Artifact, seconds: float = SECONDS) -> None:
        self.artifact, self.seconds = artifact, seconds
        node_program()
        self._host = _spare.take()
        try:
            header, _ = self._host.ask(_asked(artifact), {}, seconds)
            check_ports("input", artifact.inputs, _declared(header["ready"]["inputs"]))
            check_ports("output", artifact.outputs, _declared(header["ready"]["outputs"]))
        except BadArtifact:
            self.close()
            raise

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        given = take_inputs(self.artifact.inputs, inputs)
        header, stored = self._host.ask({}, given, self.seconds)
        if "error" in header:
            raise BadArtifact(f"tfjs cannot run the model: {header['error']}")
        outputs = self.artifact.outputs
        return {port.name: port.to_logical(stored[port.stored_as]) for port in outputs}

    def intermediates(self, inputs: Tensors, nodes: Sequence[str]) -> dict[str, np.ndarray]:
        """What these nodes of the graph compute, as it is stored."""
        given = take_inputs(self.artifact.inputs, inputs)
        header, stored = self._host.ask({"fetch": list(nodes)}, given, self.seconds)
        if "error" in header:
            raise BadArtifact(f"tfjs cannot run the model: {header['error']}")
        return stored

    def close(self) -> None:
        self._host.close()


def _asked(artifact: Artifact) -> dict[str, str]:
    return {"model": str(artifact.path.resolve()), "graph": artifact.entry or MODEL}


def prepare() -> None:
    """Start the process of the next runner, so that it loads TF.js meanwhile."""
    _spare.prepare()


def _process() -> Host:
    return Host("tfjs", [node_program(), str(NODE / "runner.mjs")], cwd=NODE)


_spare = Spare(_process)


def node_program() -> str:
    """Node, with TF.js beside the runner; BackendUnavailable otherwise."""
    return nodes.program(NODE, "@tensorflow/tfjs-backend-wasm")


def _declared(described: dict[str, Any]) -> Declared:
    """The tensors of a model's signature."""
    return {
        name: (
            tuple(int(d["size"]) for d in info["tensorShape"].get("dim", ())),
            KINDS.get(info["dtype"], info["dtype"]),
        )
        for name, info in described.items()
    }
