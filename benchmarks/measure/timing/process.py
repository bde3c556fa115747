"""A file in a runtime, in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure.timing import cores
from benchmarks.measure.timing.layers import by_layer
from benchmarks.measure.timing.runtime import NODE, Runtime
from converters.api import Tensors
from converters.processes.host import Host
from model_defs.errors import BadArtifact

SECONDS = 900.0
"""How long loading, or one block, may take."""


@dataclass(frozen=True)
class TimedFile:
    """A file and what runs it; `file` is not looked at for PEAKS.

    `inputs` are what it is timed on, by the file's own names; None: drawn in the worker.
    """

    runtime: Runtime
    file: Path
    inputs: Tensors | None = None


class Process:
    """A runtime that has loaded a file, in a process of its own. Raises BadArtifact."""

    def __init__(self, entry: TimedFile) -> None:
        runtime = entry.runtime
        runtime.look()
        self._in_node, self._file = runtime.load is None, entry.file
        cwd = NODE if self._in_node else None
        command = runtime.command(entry.file)
        self._host = Host(runtime.name, command, cwd=cwd, env=runtime.environment)
        self.threads = runtime.threads
        try:
            self.started = self._told(self._host.listen(SECONDS)[0])
            if entry.inputs is not None:
                self.feed(entry.inputs)
        except BadArtifact:
            self.close()
            raise

    @property
    def core(self) -> int | None:
        """The processor that it last ran on; None for several threads or where nobody knows."""
        return cores.of(self._host.pid) if self.threads == 1 else None

    def move(self, core: int) -> None:
        """Run on this processor from now on; several threads stay where they are."""
        if self.threads == 1:
            cores.move(self._host.pid, core)

    def run(self, runs: int, most: float = float("inf")) -> dict[str, Any]:
        """Up to so many runs, none after so many milliseconds: `wall`, `cpu`, `peak`."""
        bound = min(most, SECONDS * 1e3)
        return self._told(self._host.ask({"runs": runs, "most": bound}, {}, SECONDS)[0])

    def feed(self, inputs: Tensors) -> dict[str, Any]:
        """What comes out for these inputs, which all runs that follow take; by the file's names."""
        header, outputs = self._host.ask({"feed": True}, inputs, SECONDS)
        self._told(header)
        return outputs

    def layers(self) -> dict[str, float]:
        """Milliseconds of each layer; nothing where the runtime cannot tell."""
        found = self._told(self._host.ask({"layers": True}, {}, SECONDS)[0])["layers"]
        return by_layer(found, self._file) if self._in_node else dict(found)

    def close(self) -> None:
        self._host.close()

    def _told(self, header: dict[str, Any]) -> dict[str, Any]:
        if "error" in header:
            raise BadArtifact(str(header["error"]))
        return header
