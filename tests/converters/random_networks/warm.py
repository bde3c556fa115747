"""Converters that stay loaded: a process that takes one export after the other.

A user's build starts a converter for each file, and waits 4 to 8 s until it is loaded; of
thousands of small nets that would be most of the time.

    python -m tests.converters.random_networks.warm FORMAT...
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from converters import formats
from converters.api import Artifact, Export
from converters.format import resolve
from converters.processes.worker import QUIET
from model_defs.errors import ConversionFailed, MlshipError, UnsupportedOperation

JOBS = 100
"""A process takes so many: TensorFlow keeps something of each."""


class WarmConverter:
    """The converters of some formats in one process, begun again after `JOBS`."""

    def __init__(self, *formats: str) -> None:
        self.formats = formats
        self.lock = threading.Lock()
        """Who converts holds it: a process does one thing after the other."""
        self.seconds = 0.0
        """Of CPU, of the process that runs."""
        self._process: subprocess.Popen[str] | None = None
        self._jobs = 0

    def prepare(self) -> None:
        """Start the process, so that it loads its converters meanwhile."""
        if self._process is not None and self._jobs < JOBS and self._process.poll() is None:
            return
        self.close()
        self._jobs = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.converters.random_networks.warm", *self.formats],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **QUIET},
        )

    def convert(self, kind: str, export: Export, directory: Path) -> Artifact:
        """The artifact of an export.

        Raises UnsupportedOperation where the converter refuses it; ConversionFailed with what
        it says otherwise.
        """
        self.prepare()
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._jobs += 1
        job = {"kind": kind, "export": export.to_json(), "directory": str(directory)}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise ConversionFailed(f"the {kind} converter ended: {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        self.seconds = answer["seconds"]
        if "refused" in answer:
            what, where, do = answer["refused"]
            raise UnsupportedOperation(what, where=where, do=do)
        if "error" in answer:
            raise ConversionFailed(answer["error"])
        return Artifact.from_json(answer["artifact"], directory)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()
            self._process = None
            self.seconds = 0.0  # now it is a child's that has ended

    def __enter__(self) -> WarmConverter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def main() -> None:
    """Serve jobs, a line each, until there are no more; what is printed otherwise is lost."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in sys.argv[1:]:
        resolve(formats.find(name).preload)()
    for line in sys.stdin:
        found = {**_served(json.loads(line)), "seconds": time.process_time()}
        print(json.dumps(found), file=answer, flush=True)


def _served(job: dict[str, Any]) -> dict[str, Any]:
    convert = resolve(formats.find(job["kind"]).convert)
    try:
        return {
            "artifact": convert(Export.from_json(job["export"]), Path(job["directory"])).to_json()
        }
    except UnsupportedOperation as error:
        return {"refused": [error.what, error.where, error.do]}
    except MlshipError as error:
        return {"error": str(error)}
    except Exception:  # a converter may raise anything
        return {"error": traceback.format_exc()}


if __name__ == "__main__":
    main()
