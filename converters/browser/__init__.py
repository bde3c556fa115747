"""Runs TF.js and .tflite files in headless Chromium: the same runtimes that users' browsers have.

All backends share one Chromium and one page, in which each has a frame of its own.
"""

from __future__ import annotations

from converters import backends
from converters.api import Artifact
from converters.browser.runner import BrowserRunner
from model_defs.errors import UnknownName


def open_runner(artifact: Artifact, backend: str) -> BrowserRunner:
    """The artifact, loaded in Chromium.

    Raises UnknownName for a backend that does not take this format, BackendUnavailable where
    it does not start here, BadArtifact where it refuses the files.
    """
    known = browser_backends(artifact.format)
    if backend not in known:
        raise UnknownName.among(f"browser backend of {artifact.format}", backend, known)
    return BrowserRunner(artifact, backend)


def browser_backends(format: str) -> tuple[str, ...]:
    """The backends that open an artifact of a format in Chromium."""
    opener = "converters.browser:open_runner"
    return tuple(b.name for b in backends.of_format(format) if b.opener == opener)
