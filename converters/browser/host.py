"""The Node process that keeps Chromium: started once, asked many times, gone with us."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from converters.api import Tensors
from model_defs.errors import BackendUnavailable, BadArtifact

NODE = Path(__file__).parent / "node"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Host:
    """Sends one request at a time and waits for its answer.

    A request or answer is the length of its header (4 bytes, little-endian), the header (JSON)
    and the bytes of the tensors that it describes, one after the other.
    """

    def __init__(self) -> None:
        command = [node_program(), str(NODE / "host.mjs"), chromium_program()]
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the host
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            cwd=NODE,
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, request: dict[str, Any], tensors: Tensors, seconds: float
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The answer's header and its tensors by name.

        Raises BackendUnavailable where the browser or backend does not start, BadArtifact for
        everything that happens to the model afterwards: a JavaScript error, a crash of the
        page, no answer in time.
        """
        if not self.alive:
            raise BadArtifact("the page that held the model is gone: Chromium ended")
        self._send(request, tensors)
        try:
            header, payload = self._receive(time.monotonic() + seconds)
        except TimeoutError:
            self.close()
            what = f"the browser did not answer within {seconds:g} s"
            raise BadArtifact(what, where=str(request.get("path", ""))) from None
        if "error" in header:
            raise self._refusal(header, request)
        return header, _arrays(header.get("tensors", []), payload)

    def close(self) -> None:
        """Ends Chromium and Node; closing twice does nothing."""
        if self._words.closed:
            return
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._end()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._words.close()

    def _end(self) -> None:
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _refusal(self, header: dict[str, Any], request: dict[str, Any]) -> Exception:
        if header["kind"] == "unavailable":
            return BackendUnavailable(header["error"], do="mlship doctor says what is needed")
        if header["kind"] == "crash":
            self.close()
        return BadArtifact(header["error"], where=str(request.get("path", "")))

    def _send(self, request: dict[str, Any], tensors: Tensors) -> None:
        described = [
            {"name": name, "dtype": array.dtype.name, "shape": array.shape}
            for name, array in tensors.items()
        ]
        header = json.dumps({**request, "tensors": described}).encode()
        data = [struct.pack("<I", len(header)), header, *(a.tobytes() for a in tensors.values())]
        assert self._process.stdin is not None
        # Its end is noticed, with its last words, when its answer is read.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(b"".join(data))
            self._process.stdin.flush()

    def _receive(self, deadline: float) -> tuple[dict[str, Any], bytes]:
        (length,) = struct.unpack("<I", self._read(4, deadline))
        header = json.loads(self._read(length, deadline))
        sizes = (_bytes(tensor) for tensor in header.get("tensors", []))
        return header, self._read(sum(sizes), deadline)

    def _read(self, count: int, deadline: float) -> bytes:
        assert self._process.stdout is not None
        stream, parts, missing = self._process.stdout.fileno(), [], count
        while missing:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stream], [], [], left)[0]:
                raise TimeoutError
            part = os.read(stream, missing)
            if not part:
                raise BadArtifact(f"the browser's host ended: {self._last_words()}")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _last_words(self) -> str:
        self._end()
        self._words.seek(0)
        lines = [s.strip() for s in self._words.read().decode(errors="replace").splitlines()]
        errors = [line for line in lines if "Error" in line] or [line for line in lines if line]
        return (errors or [f"exit code {self._process.returncode}"])[0]


_shared: list[Host] = []


def shared_host() -> Host:
    """The host of this process: started when first needed, and again after a crash."""
    if not _shared or not _shared[-1].alive:
        for ended in _shared:
            ended.close()
        _shared[:] = [Host()]
        atexit.register(_shared[-1].close)
    return _shared[-1]


def chromium_program() -> str:
    """$CHROMIUM, or the first of BROWSERS on the path; BackendUnavailable if there is none."""
    named = os.environ.get("CHROMIUM")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        what = f"$CHROMIUM is {named}, which is no program" if named else "there is no Chromium"
        raise BackendUnavailable(what, do="install it (apt-get install chromium) or set $CHROMIUM")
    return found


def node_program() -> str:
    """Node, with the packages beside the host; BackendUnavailable otherwise."""
    program = shutil.which("node")
    if program is None:
        raise BackendUnavailable("Node is not installed", do="install Node 20 or later")
    if not (NODE / "node_modules" / "playwright-core").is_dir():
        raise BackendUnavailable(
            "the packages of the browser backends are missing", do=f"run `npm ci` in {NODE}"
        )
    return program


def _bytes(tensor: dict[str, Any]) -> int:
    return int(np.prod(tensor["shape"])) * np.dtype(tensor["dtype"]).itemsize


def _arrays(described: list[dict[str, Any]], payload: bytes) -> dict[str, np.ndarray]:
    arrays, offset = {}, 0
    for tensor in described:
        count = _bytes(tensor)
        flat = np.frombuffer(payload[offset : offset + count], tensor["dtype"])
        arrays[tensor["name"]] = flat.reshape(tensor["shape"])
        offset += count
    return arrays
