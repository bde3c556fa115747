"""A runtime in a process of its own, asked for answers: its crash is an error message here."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.api import Tensors
from converters.processes import children, frames, scratch
from converters.processes.frames import Frame
from model_defs.errors import BadArtifact

SHORT = 32
"""Characters of a folder in which Chromium's socket still has a name of less than 104."""


def _short_base() -> str:
    """Where temporary files go, if sockets may be there; else the system's own such folder."""
    found = tempfile.gettempdir()
    return found if len(found) <= SHORT or not os.path.isdir("/tmp") else "/tmp"


class Host:
    """A process that reads frames on standard input and writes frames on standard output.

    Its end and its silence raise BadArtifact with its last words; `what` is its name there.
    """

    def __init__(
        self,
        what: str,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.what = what
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the host
        # Chromium leaves folders wherever it is told to put temporary files.
        self._stack = contextlib.ExitStack()
        temporary = self._stack.enter_context(scratch.temporary(_short_base()))
        self._process = children.start(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            cwd=cwd,
            env={**os.environ, **(env or {}), "TMPDIR": str(temporary)},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], tensors: Tensors, seconds: float) -> Frame:
        """Send one frame and wait for the answer."""
        assert self._process.stdin is not None
        # An end is reported, with its last words, when the answer is read.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(frames.pack(request, tensors))
            self._process.stdin.flush()
        return self.listen(seconds)

    def listen(self, seconds: float) -> Frame:
        """Wait for one frame."""
        deadline = time.monotonic() + seconds
        return frames.read(lambda count: self._take(count, deadline, seconds))

    def close(self) -> None:
        """End the process; closing twice does nothing."""
        if self._words.closed:
            return
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.terminate()
        self._wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._words.close()
        self._stack.close()

    def _take(self, count: int, deadline: float, seconds: float) -> bytes:
        assert self._process.stdout is not None
        stream, parts, missing = self._process.stdout.fileno(), [], count
        while missing:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stream], [], [], left)[0]:
                self.close()
                raise BadArtifact(f"{self.what} did not answer within {seconds:g} s")
            part = os.read(stream, min(missing, 1 << 20))
            if not part:
                raise BadArtifact(f"{self.what} ended: {self._last_words()}")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _last_words(self) -> str:
        """The line of its error, or how it ended."""
        code = self._wait()
        self._words.seek(0)
        lines = [s.strip() for s in self._words.read().decode(errors="replace").splitlines()]
        errors = [line for line in lines if "Error" in line]
        ended = f"by signal {-code}" if code < 0 else f"with status {code}"
        return errors[0] if errors else ended

    def _wait(self) -> int:
        try:
            return self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class Spare:
    """A host that is started before it is needed: it loads its runtime while others work."""

    def __init__(self, start: Callable[[], Host]) -> None:
        self._start = start
        self._ready: list[Host] = []
        atexit.register(self.close)

    def prepare(self) -> None:
        """Start one, if none is ready."""
        if not self._ready:
            self._ready.append(self._start())

    def take(self) -> Host:
        """The one that is ready, or a new one."""
        with contextlib.suppress(IndexError):
            host = self._ready.pop()
            if host.alive:
                return host
            host.close()
        return self._start()

    def close(self) -> None:
        """End the one that nobody took."""
        while self._ready:
            self._ready.pop().close()
