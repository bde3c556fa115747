"""Runs TF.js and .tflite files in headless Chromium: the same runtimes that users' browsers have.

All backends share one Chromium and one page, in which each has a frame of its own.
"""

from __future__ import annotations

from converters.api import Artifact
from converters.browser.runner import BrowserRunner
from model_defs.errors import UnknownName

BROWSER_BACKENDS: dict[str, tuple[str, ...]] = {
    "tfjs": ("tfjs-wasm-chromium", "tfjs-webgl", "tfjs-webgl-f16", "tfjs-webgpu"),
    "tflite": ("litertjs",),
}
"""The backends that open an artifact of a format."""


def open_runner(artifact: Artifact, backend: str) -> BrowserRunner:
    """The artifact, loaded in Chromium.

    Raises UnknownName for a backend that does not take this format, BackendUnavailable where
    it does not start here, BadArtifact where it refuses the files.
    """
    known = BROWSER_BACKENDS.get(artifact.format, ())
    if backend not in known:
        raise UnknownName.among(f"browser backend of {artifact.format}", backend, known)
    return BrowserRunner(artifact, backend)


__all__ = ["BROWSER_BACKENDS", "BrowserRunner", "open_runner"]
