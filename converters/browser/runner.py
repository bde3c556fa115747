"""One artifact in one backend of the browser."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.api import Artifact, Port, Tensors
from converters.browser.host import Browser, shared_browser
from converters.processes.binding import Declared, check_ports, take_inputs
from model_defs.errors import BadArtifact

SECONDS = 300.0
"""How long loading or one run may take: WebGL on a CPU needs 40 s for the largest models."""


class BrowserRunner:
    """Binds tensors by the names of the file's signature, never by position.

    `runtime` is what the backend says of itself: "float16 textures".
    """

    def __init__(
        self,
        artifact: Artifact,
        backend: str,
        *,
        seconds: float = SECONDS,
        browser: Browser | None = None,
    ) -> None:
        self.artifact, self.backend, self.seconds = artifact, backend, seconds
        if not artifact.path.exists():
            raise BadArtifact("the model file does not exist", where=str(artifact.path))
        self._browser = browser or shared_browser()
        path = str(artifact.path.resolve())
        asked = {"do": "open", "backend": backend, "path": path, "entry": artifact.entry}
        opened, _ = self._browser.ask(asked, {}, seconds)
        self._id = opened["id"]
        self.runtime = str(opened["runtime"])
        try:
            check_ports("input", artifact.inputs, _declared(opened["inputs"]))
            check_ports("output", artifact.outputs, _declared(opened["outputs"]))
        except BadArtifact:
            self.close()
            raise

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        stored = take_inputs(self.artifact.inputs, inputs)
        _, results = self._browser.ask({"do": "run", "id": self._id}, stored, self.seconds)
        return {port.name: _logical(port, results) for port in self.artifact.outputs}

    def close(self) -> None:
        if self._browser.alive:
            self._browser.ask({"do": "close", "id": self._id}, {}, self.seconds)


def _logical(port: Port, results: dict[str, np.ndarray]) -> np.ndarray:
    if port.stored_as not in results:
        raise BadArtifact(f"output '{port.name}' is missing; there are: {', '.join(results)}")
    return port.to_logical(results[port.stored_as])


def _declared(described: dict[str, Any]) -> Declared:
    return {name: (tuple(info["shape"]), str(info["dtype"])) for name, info in described.items()}
