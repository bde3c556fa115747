"""The formats that we write: the only list of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from converters.coreml.format import COREML
from converters.format import Format, resolve
from converters.tfjs.format import TFJS
from converters.tflite.format import TFLITE
from model_defs.errors import BackendUnavailable, UnknownName, reading_file

if TYPE_CHECKING:
    from converters.api import Artifact, Runner

FORMATS: dict[str, Format] = {format.name: format for format in (COREML, TFLITE, TFJS)}


def find(name: str) -> Format:
    """The format of that name; UnknownName for any other."""
    if name not in FORMATS:
        raise UnknownName.among("format", name, FORMATS)
    return FORMATS[name]


def prepare_runner(name: str) -> None:
    """Load a format's runtime ahead of `open_runner`, where it runs in a process of its own."""
    resolve(find(name).prepare)()


def open_runner(artifact: Artifact) -> Runner:
    """The runner of an artifact on this machine; BackendUnavailable where there is none."""
    with reading_file(artifact.path):
        return cast("Runner", resolve(find(artifact.format).open_runner)(artifact))


def open_in_float32(artifact: Artifact) -> Runner:
    """The first backend here that computes an artifact in float32; BackendUnavailable if none."""
    for backend in find(artifact.format).backends:
        here = backend.system in ("", sys.platform)
        if here and backend.in_float32(artifact.precision):
            return backend.open(artifact)
    raise BackendUnavailable(f"nothing here computes {artifact.format} in float32")
