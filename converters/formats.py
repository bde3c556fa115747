"""The formats that we write: name -> the module with its `convert` and `open_runner`."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import cast

from converters.api import Artifact, Runner
from model_defs.errors import UnknownName

FORMATS: dict[str, str] = {
    "coreml": "converters.coreml.convert",
    "tflite": "converters.tflite",
    "tfjs": "converters.tfjs",
}


def load(name: str) -> ModuleType:
    """The converter of a format; UnknownName for any other."""
    if name not in FORMATS:
        raise UnknownName.among("format", name, FORMATS)
    return import_module(FORMATS[name])


def prepare_runner(name: str) -> None:
    """Load a format's runtime ahead of `open_runner`, where it runs in a process of its own."""
    getattr(load(name), "prepare", lambda: None)()


def open_runner(artifact: Artifact) -> Runner:
    """The runner of an artifact on this machine; BackendUnavailable where there is none."""
    return cast(Runner, load(artifact.format).open_runner(artifact))
