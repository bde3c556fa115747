"""What runs files of one format, and how its process is started."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measure.peers.install import python_of
from converters.format import Named, named, nothing, resolve
from model_defs.errors import BackendUnavailable
from model_defs.installation import FOLDER, IMPORTED_FROM

NODE = FOLDER / "converters" / "tfjs" / "node"
CORES = os.cpu_count() or 1
QUIET = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "KMP_BLOCKTIME": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONWARNINGS": "ignore",
}
"""The environment of what is timed: threads that wait sleep, and do not take another's core."""


@dataclass(frozen=True)
class Runtime:
    """What runs files of one format, on one thread or on all cores.

    `format` is that of an artifact, or `onnx` and `torchscript` for what an artifact was made
    of: references. `load` takes a file, a number of threads and the `options`; without it, it is
    node.mjs. `imports` are loaded before memory is counted. `main` stands for the latency of its
    format in CI. `reference` is no way that the file ships. `needs` looks for what else it takes.
    `peer` is the environment that it is installed in, where that is not ours.
    """

    name: str
    format: str
    summary: str
    load: Named | None
    imports: tuple[str, ...] = ()
    threads: int = 1
    options: tuple[str, ...] = ()
    main: bool = False
    reference: bool = False
    system: str = ""
    needs: Named = nothing
    peer: str = ""

    def look(self) -> None:
        """BackendUnavailable where this machine cannot run it, as far as can be seen from here."""
        if self.system and sys.platform != self.system:
            raise BackendUnavailable(f"{self.name} runs on {self.system} only")
        if self.peer and not python_of(self.peer).is_file():
            do = f"python -m benchmarks.measure.peers.install {self.peer}"
            raise BackendUnavailable(f"{self.peer} is not installed", do=do)
        for module in () if self.peer else self.imports:
            if find_spec(module) is None:
                raise BackendUnavailable(f"{module} is not installed", do=f"pip install {module}")
        resolve(self.needs)()
        self.program()

    def program(self) -> list[str]:
        """How its process is started, but for the file."""
        if self.load is None:
            from converters.tfjs.runner import node_program

            return [node_program(), str(Path(__file__).with_name("node.mjs"))]
        python = str(python_of(self.peer)) if self.peer else sys.executable
        arguments = [named(self.load), ",".join(self.imports), ",".join(self.options)]
        return [python, "-P", "-m", "benchmarks.measure.timing.worker", *arguments]

    def command(self, path: Path) -> list[str]:
        """How its process is started on a file."""
        given = [str(path.resolve())] if self.load is None else [str(path), str(self.threads)]
        return [*self.program(), *given]

    @property
    def environment(self) -> dict[str, str]:
        counts = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        own = "" if self.peer else os.environ.get("PYTHONPATH", "")
        paths = os.pathsep.join(filter(None, [str(IMPORTED_FROM), own]))
        return QUIET | dict.fromkeys(counts, str(self.threads)) | {"PYTHONPATH": paths}
