"""Core ML's protocol buffer classes, out of the installed coremltools' own files."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from model_defs.errors import BackendUnavailable

ALIAS = "_coremltools_proto"
"""The name under which we import the folder. Importing `coremltools.proto` would import
coremltools first: 5 to 12 s, where these files need nothing but protobuf."""


@functools.cache
def messages(name: str) -> ModuleType:
    """The generated module of that name, such as "Model_pb2", without importing coremltools.

    coremltools may be imported before or after: the same files register the same descriptors.
    Raises BackendUnavailable where it is not installed.
    """
    if ALIAS not in sys.modules:
        package = ModuleType(ALIAS)
        package.__path__ = [str(folder())]
        sys.modules[ALIAS] = package
    return importlib.import_module(f"{ALIAS}.{name}")


def folder() -> Path:
    """Where coremltools keeps its generated files; finding a top-level name imports nothing."""
    spec = importlib.util.find_spec("coremltools")
    for place in (spec and spec.submodule_search_locations) or ():
        folder = Path(place, "proto")
        if (folder / "Model_pb2.py").is_file():
            return folder
    raise BackendUnavailable(
        "Core ML packages are read with coremltools' files, and coremltools is not installed",
        do="pip install coremltools",
    )
