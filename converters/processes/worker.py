"""A converter in a process of its own: loaded ahead, given one export after the other.

TensorFlow, coremltools and torch in one process cost 12 s of imports and fight over protobuf;
apart, each loads only what it needs while the caller captures the model, and its crash is an
error message here.

    python -m converters.processes.worker FORMAT CONVERT PRELOAD

is told where the format's functions lie, as "module:attribute".
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

from converters import formats
from converters.api import Artifact, Export
from converters.format import named, resolve
from converters.processes import children, scratch
from converters.progress import listen
from converters.sizes import at_size
from model_defs.errors import (
    ERRORS,
    REPORT,
    CannotWrite,
    ConversionFailed,
    MlshipError,
    UnsupportedOption,
    said,
)
from model_defs.installation import IMPORTED_FROM

Convert = Callable[..., Artifact]
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "PYTHONWARNINGS": "ignore"}


def _nobody(stage: str) -> None:
    """Hears nothing."""


class Worker:
    """The process of one format's converter; a context manager that lets go of it.

    A process that is let go of in good order waits for the next Worker of its kind: its tools are
    loaded. Bytes do not depend on what it has converted before.
    """

    def __init__(self, format_name: str) -> None:
        self.format = format_name
        self._loaded = _take(format_name)

    def convert(
        self,
        export: Export,
        directory: Path,
        options: Mapping[str, str] | None = None,
        hears: Callable[[str], None] = _nobody,
        further: Mapping[str, Export] | None = None,
    ) -> Artifact:
        """The artifact of an export, written into the directory; `options` are the format's.

        `hears` is called with each stage that the converter tells of. `further` are exports of the
        same model at other sizes, by their names, which become entries of the same file.
        Raises what the converter raised, or ConversionFailed with its last words.
        """
        merge = formats.find(self.format).merge
        if further and merge is None:
            raise UnsupportedOption(
                f"{self.format} has no files of several sizes", do="leave the sizes away"
            )
        job = json.dumps(
            {
                "export": export.to_json(),
                "directory": str(directory.absolute()),  # a process may have begun elsewhere
                "options": dict(options or {}),
                "further": {name: one.to_json() for name, one in (further or {}).items()},
                "merge": named(merge) if merge else "",
            }
        )
        result = self._loaded.answer(job, hears)
        if "error" in result:
            error = result["error"]
            raise ERRORS[error["kind"]](error["what"], where=error["where"], do=error["do"])
        return Artifact.from_json(result["artifact"], directory)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _give(self._loaded)


class LoadedConverter:
    """A process that has loaded a format's converter, or is about to."""

    def __init__(self, format_name: str, kind: str) -> None:
        self.format, self.kind = format_name, kind
        self.is_fit = True
        """Whether it may convert again: not while it converts, nor once it failed or grew."""
        format = formats.find(format_name)
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - see close
        # Converters leave what they wrote: coremltools a copy of each package.
        self._stack = contextlib.ExitStack()
        self._temporary = self._stack.enter_context(scratch.temporary())
        command = [sys.executable, "-P", "-m", "converters.processes.worker"]
        self._process = children.start(
            [*command, format_name, *map(named, (format.convert, format.preload))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**_environment(), "TMPDIR": str(self._temporary)},
        )

    def answer(self, job: str, hears: Callable[[str], None]) -> dict[str, Any]:
        """What it says last: a line for each stage, then one with what came of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.is_fit = False
        with contextlib.suppress(BrokenPipeError):  # its end is reported below
            self._process.stdin.write(f"{job}\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            try:
                said: dict[str, Any] = json.loads(line)
            except json.JSONDecodeError:
                self._process.kill()
                break
            if "stage" not in said:
                self.is_fit = "error" not in said and said["bytes"] < LARGEST
                return said
            hears(said["stage"])
        self._process.wait()
        raise self._crash()

    def tidy(self) -> bool:
        """Removes what conversions left; whether it may convert again."""
        if self.is_fit and self._process.poll() is None:
            with contextlib.suppress(OSError):
                for left in self._temporary.iterdir():
                    if not scratch.OURS.fullmatch(left.name):  # the process's own, and tidy
                        shutil.rmtree(left) if left.is_dir() else left.unlink()
                self._log.seek(0)  # for the process as well, which shares the place
                self._log.truncate()
                return True
        return False

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._log.close()
        self._stack.close()

    def _crash(self) -> ConversionFailed:
        self._log.seek(0)
        words = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        code = self._process.returncode
        how = f"by signal {-code}" if code < 0 else f"with status {code}"
        last = f": {' / '.join(words[-3:])}" if words else ""
        return ConversionFailed(
            f"the {self.format} converter ended {how}{last}",
            do=f"mlship doctor says what is installed; if all is, {REPORT}",
        )


LARGEST = 2_000_000_000
"""Bytes of memory from which on a process is not kept."""

_waiting: dict[str, LoadedConverter] = {}
"""By kind: the process that the next Worker of it takes."""
_choosing = Lock()


def _environment() -> dict[str, str]:
    """What a converter's process is told: its own modules, and to be quiet."""
    paths = [str(IMPORTED_FROM), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **QUIET, "PYTHONPATH": os.pathsep.join(paths)}


def _kind(format_name: str) -> str:
    """What decides how a process converts: the format's functions, and the environment."""
    format = formats.find(format_name)
    environment = {k: v for k, v in _environment().items() if not k.startswith(ASIDE)}
    return json.dumps([format_name, named(format.convert), named(format.preload), environment])


ASIDE = ("MLSHIP_", "PYTEST_")
"""How variables begin that no converter reads."""


def _take(format_name: str) -> LoadedConverter:
    kind = _kind(format_name)
    with _choosing:
        found = _waiting.pop(kind, None)
    if found is not None:
        if found.tidy():
            return found
        found.close()
    return LoadedConverter(format_name, kind)


def _give(loaded: LoadedConverter) -> None:
    """Keep one of each kind; end the others."""
    if loaded.tidy():
        with _choosing:
            if loaded.kind not in _waiting:
                _waiting[loaded.kind] = loaded
                return
    loaded.close()


def end_waiting() -> None:
    """End all that wait for work."""
    with _choosing:
        found = list(_waiting.values())
        _waiting.clear()
    for loaded in found:
        loaded.close()


atexit.register(end_waiting)


def main() -> None:
    """Serve the jobs of standard input, one a line; all else that is printed goes to the log."""
    children.end_with_parent()
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _, name, convert, preload = sys.argv
    resolve(preload)()

    def write(said: dict[str, Any]) -> None:
        print(json.dumps(said), file=answer, flush=True)

    listen(lambda stage: write({"stage": stage}))
    for job in sys.stdin:
        write(_serve(name, resolve(convert), json.loads(job)))
    os._exit(0)  # TensorFlow and PyTorch take up to 0.7 s to take themselves apart


def _serve(name: str, convert: Convert, job: dict[str, Any]) -> dict[str, Any]:
    try:
        export, directory = Export.from_json(job["export"]), Path(job["directory"])
        artifact = convert(export, directory, **job["options"])
        if job["further"]:
            artifact = _merged(artifact, convert, job)
        return {"artifact": artifact.to_json(), "bytes": _most_bytes()}
    except MlshipError as error:
        return {"error": _error_json(error)}
    except OSError as error:
        return {"error": _error_json(CannotWrite(f"cannot write the artifact: {error.strerror}"))}
    except Exception as error:  # a converter may raise anything
        traceback.print_exc()
        what = f"the {name} converter failed: {said(error)}"
        return {"error": _error_json(ConversionFailed(what, do=REPORT))}


def _most_bytes() -> int:
    """The most memory that this process has had."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _merged(artifact: Artifact, convert: Convert, job: dict[str, Any]) -> Artifact:
    """The artifact with an entry for each further size, converted here one after the other."""
    merge = resolve(job["merge"])
    with scratch.temporary() as work:
        further = {}
        for name, data in job["further"].items():
            folder = work / name
            folder.mkdir()
            with at_size(name):
                further[name] = convert(Export.from_json(data), folder, **job["options"])
        merged: Artifact = merge(artifact, further)
    notes = dict.fromkeys(note for one in (merged, *further.values()) for note in one.notes)
    return replace(merged, notes=tuple(notes))


def _error_json(error: MlshipError) -> dict[str, str]:
    kind = type(error).__name__
    return {"kind": kind, "what": error.what, "where": error.where, "do": error.do}


if __name__ == "__main__":
    main()
