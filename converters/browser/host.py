"""The Node process that keeps Chromium: started once, asked many times, gone with us."""

from __future__ import annotations

import atexit
import os
import shutil
from pathlib import Path
from typing import Any

from converters.api import Tensors
from converters.processes import nodes
from converters.processes.frames import Frame
from converters.processes.host import Host
from model_defs.errors import BackendUnavailable, BadArtifact, MlshipError

NODE = Path(__file__).parent / "node"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Browser(Host):
    """Chromium with one page; what happens to it is told by the next answer."""

    def __init__(self) -> None:
        node, chromium = programs()
        command = [node, str(NODE / "host.mjs"), chromium]
        super().__init__("the browser", command, cwd=NODE)

    def ask(self, request: dict[str, Any], tensors: Tensors, seconds: float) -> Frame:
        """Send a request and wait for its answer.

        Raises BackendUnavailable where the browser or backend does not start, BadArtifact for
        everything that happens to the model afterwards: a JavaScript error, a crash of the
        page, no answer in time.
        """
        if not self.alive:
            raise BadArtifact("the page that held the model is gone: the browser ended")
        header, answer = super().ask(request, tensors, seconds)
        if "error" in header:
            raise self._refusal(header, str(request.get("path", "")))
        return header, answer

    def _refusal(self, header: dict[str, Any], where: str) -> MlshipError:
        if header["kind"] == "unavailable":
            return BackendUnavailable(header["error"], do="mlship doctor says what is needed")
        if header["kind"] == "crash":
            self.close()
        return BadArtifact(header["error"], where=where)


_shared: list[Browser] = []


def shared_browser() -> Browser:
    """The browser of this process: started when first needed, and again after a crash."""
    if not _shared or not _shared[-1].alive:
        for ended in _shared:
            ended.close()
        _shared[:] = [Browser()]
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


def programs() -> tuple[str, str]:
    """Node, with the packages beside the host, and Chromium; BackendUnavailable otherwise."""
    return nodes.program(NODE, "playwright-core"), chromium_program()
