"""Opens a saved `.mlpackage`: its manifest, its model description and its program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError

from converters.mil.declared import Declared, read_declared
from converters.mil.messages import messages
from converters.mil.program import FunctionDef, read_block, read_values
from converters.mil.types import TensorType
from converters.mil.values import BlobFiles
from model_defs.errors import BadArtifact, UnknownName, UnsupportedOperation

if TYPE_CHECKING:
    from converters.mil.runtime import Interpreter, State

REBUILD = "restore the file or build the package again"

OPSETS = ("CoreML5", "CoreML6", "CoreML7", "CoreML8", "CoreML9")
"""iOS15, 16, 17, 18 and 26: what our operations implement."""


@dataclass(frozen=True)
class Function(FunctionDef):
    """One function of a package, which can be run."""

    _interpreters: dict[str, Interpreter] = field(default_factory=dict, repr=False, compare=False)

    def interpreter(self, precision: str = "exact") -> Interpreter:
        """The function made ready to run: every operation and argument known, weights loaded.

        `precision` is "exact" (fp16 rounded after every operation) or "weights-only" (fp16
        weights, float32 arithmetic). Raises UnsupportedOperation and BadArtifact.
        """
        from converters.mil.runtime import Interpreter

        if precision not in self._interpreters:
            self._interpreters[precision] = Interpreter(self, precision)
        return self._interpreters[precision]

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        trace: dict[str, np.ndarray] | None = None,
        *,
        state: State | None = None,
        precision: str = "exact",
    ) -> dict[str, np.ndarray]:
        """The outputs by name, of the declared dtypes.

        `trace` receives every value computed on the way. `state` carries the memory of a
        stateful function from call to call; without it each call begins with zeros.
        """
        return self.interpreter(precision).run(inputs, trace, state)


@dataclass(frozen=True)
class Package:
    """A saved package of one or several functions."""

    path: Path
    specification: int
    description: Any
    functions: Mapping[str, Function]
    default: str

    @cached_property
    def main(self) -> Function:
        """The function that runs where none is named."""
        return self[self.default]

    def at(self, entry: str) -> Function:
        """The function of an artifact's entry: "" is the one that runs where none is named."""
        if entry and entry not in self.functions:
            raise BadArtifact(f"the program has no function '{entry}'", where=str(self.path))
        return self[entry or self.default]

    def __getitem__(self, name: str) -> Function:
        if name not in self.functions:
            raise UnknownName.among("function", name, self.functions)
        return self.functions[name]


def model_files(path: Path) -> tuple[Path, Path]:
    """The model file and the folder of its data, as a package's manifest names them."""
    manifest = _manifest(path)
    try:
        root = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
        relative = Path(root)
    except (KeyError, TypeError) as error:
        raise BadArtifact(
            f"the manifest lacks {error}", where=str(path / "Manifest.json"), do=REBUILD
        ) from error
    if relative.is_absolute() or ".." in relative.parts or not root.isprintable():
        raise BadArtifact(f"the manifest points at {root!r}, outside its package", where=str(path))
    model = path / "Data" / relative
    return model, model.parent


def _manifest(path: Path) -> Any:
    try:
        return json.loads((path / "Manifest.json").read_bytes())
    except OSError as error:
        raise BadArtifact(f"not a Core ML package: {error}", where=str(path), do=REBUILD) from error
    except (ValueError, RecursionError) as error:
        raise BadArtifact(
            f"the manifest is not JSON: {error}", where=str(path / "Manifest.json"), do=REBUILD
        ) from error


def read_model(model: Path) -> Any:
    """The `Model` message in a file; BadArtifact where it is missing or not one.

    Raises BackendUnavailable where coremltools, whose files these are, is not installed.
    """
    kind = messages("Model_pb2").Model
    try:
        return kind.FromString(model.read_bytes())
    except OSError as error:
        raise BadArtifact(f"cannot be read: {error}", where=str(model), do=REBUILD) from error
    except DecodeError as error:
        raise BadArtifact(f"not a Core ML model: {error}", where=str(model), do=REBUILD) from error


def open_package(path: Path) -> Package:
    """The package at `path`, checked as far as that is possible without computing.

    Raises BadArtifact for a package that is incomplete, malformed, or points outside itself,
    UnsupportedOperation for a model that is not an ML program or of an unknown opset.
    """
    model_file, directory = model_files(path)
    model = read_model(model_file)
    kind = model.WhichOneof("Type")
    if kind != "mlProgram":
        raise UnsupportedOperation(
            f"a Core ML model of kind '{kind}' is not executed, only ML programs are",
            where=str(path),
            do="convert it with convert_to='mlprogram'",
        )
    try:
        functions = _functions(model, BlobFiles(directory))
    except (ValueError, OverflowError, RecursionError) as error:
        raise BadArtifact(f"the program is malformed: {error}", where=str(model_file)) from error
    default = model.description.defaultFunctionName or "main"
    if default not in functions:
        raise BadArtifact(f"the program has no function '{default}'", where=str(model_file))
    return Package(path, model.specificationVersion, model.description, functions, default)


def _functions(model: Any, blobs: BlobFiles) -> dict[str, Function]:
    return {
        name: _function(name, proto, blobs, read_declared(model.description, name))
        for name, proto in model.mlProgram.functions.items()
    }


def _function(
    name: str, proto: Any, blobs: BlobFiles, declared: Mapping[str, Declared]
) -> Function:
    opset = proto.opset
    if opset not in OPSETS:
        raise UnsupportedOperation(
            f"function '{name}' is of opset '{opset}'", do=f"known: {', '.join(OPSETS)}"
        )
    if opset not in proto.block_specializations:
        raise BadArtifact(f"function '{name}' has no block for its opset {opset}")
    inputs = read_values(proto.inputs)
    for value in inputs:
        if not isinstance(value.type, TensorType):
            raise BadArtifact(f"input '{value.name}' of function '{name}' is a {value.type}")
    block = read_block(proto.block_specializations[opset], blobs)
    return Function(name, opset, inputs, block.outputs, block, declared)
