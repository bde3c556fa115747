"""Core ML: converts an export to an `.mlpackage` and runs one.

On a Mac a package runs in Core ML itself; elsewhere its saved program is executed by
`converters.mil`, which shows that the numbers are right, not how fast they come.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import sys
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from converters import mil
from converters.api import Artifact, Export, Port, Runner, Tensors
from converters.coreml import defects, grids, shared
from converters.mil.package import model_files, read_model
from converters.mil.types import TensorType
from model_defs.errors import BadArtifact, CannotWrite, ConversionFailed, UnsupportedOperation

FILE = "model.mlpackage"
NAMESPACE = uuid.UUID("6f1a2c50-0c63-5e0e-9b7e-3d5b8a4f7c21")
"""Of the identifiers in a manifest, which are the same for every package of ours."""

CONVERSION_DATE = "com.github.apple.coremltools.conversion_date"

FAILURES = (
    NotImplementedError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    RuntimeError,
)
"""What coremltools raises for a graph that it cannot convert."""

LARGE = 64 * 1024
"""Bytes of one repeated number in the weights that are worth a note."""


def coremltools() -> Any:
    """The coremltools module, imported in 4 s instead of 12 s and without its harmless warnings.

    TensorFlow is made unimportable first: coremltools would load all of it to support a
    frontend that is not used here. Hence only for a process of its own.
    """
    sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    import coremltools as ct

    return ct


def preload() -> None:
    """Imports what a conversion needs, ahead of one."""
    coremltools()


def convert(export: Export, directory: Path) -> Artifact:
    """Writes `directory/model.mlpackage`, the same bytes for the same export everywhere.

    Raises UnsupportedOperation with the PyTorch operation and its line, ConversionFailed with
    coremltools' last words, CannotWrite. To be called in a process of its own.
    """
    import torch

    module = torch.jit.load(str(export.torchscript), map_location="cpu").eval()
    defects.refuse(module.inlined_graph)
    path = directory / FILE
    model = _converted(module, export)
    try:
        model.save(str(path))
        make_reproducible(path)
    except OSError as error:
        raise CannotWrite(f"the package cannot be written: {error}", where=str(path)) from error
    artifact = Artifact(
        path,
        "coreml",
        export.precision,
        tuple(Port.of(s, channels_last=False) for s in export.inputs),
        tuple(Port.of(s, channels_last=False) for s in export.outputs),
        notes=repeated_numbers(path),
    )
    _check_ports(artifact, mil.open_package(path))
    return artifact


def _converted(module: Any, export: Export) -> Any:
    ct = coremltools()
    defects.repair()
    with quiet() as failed:
        try:
            return ct.convert(
                module,
                convert_to="mlprogram",
                inputs=[ct.TensorType(s.name, s.shape, dtype=np.float32) for s in export.inputs],
                outputs=[ct.TensorType(s.name, dtype=np.float32) for s in export.outputs],
                minimum_deployment_target=ct.target[_target(module, export)],
                compute_precision=grids.precision(
                    export.precision, export.grids, mixed=export.mixed
                ),
                pass_pipeline=grids.pipeline(export.grids),
                skip_model_load=True,
            )
        except FAILURES as error:
            refusal = _explained(error, failed, module.inlined_graph)
    raise refusal  # out here, or the traceback keeps coremltools' temporary files alive


def _target(module: Any, export: Export) -> str:
    kinds = {node.kind() for node in defects.operations(module.inlined_graph)}
    on_grids = "aten::fake_quantize_per_tensor_affine" in kinds
    return grids.target(export.grids, activations=on_grids)


@contextlib.contextmanager
def quiet() -> Iterator[list[str]]:
    """Keeps coremltools' progress bars and noise off the terminal.

    Yields the names of operations that failed to convert, which it only logs.
    """
    failed: list[str] = []

    class Failures(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            failed.extend(re.findall(r"converting '([^']+)' op", record.getMessage()))

    logger, handler = logging.getLogger("coremltools"), Failures()
    propagates, logger.propagate = logger.propagate, False
    others, logger.handlers = logger.handlers, [handler]
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield failed
    finally:
        logger.handlers, logger.propagate = others, propagates


def _explained(
    error: Exception, failed: list[str], graph: Any
) -> UnsupportedOperation | ConversionFailed:
    """coremltools' refusal with the operation's name and its line of PyTorch, where it is one."""
    words = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if not failed:
        return ConversionFailed(f"coremltools: {words}")
    lines = [
        defects.source(node)
        for node in defects.operations(graph)
        if node.kind().partition("::")[2].strip("_") == failed[0].strip("_")
    ]
    return UnsupportedOperation(
        f"aten::{failed[0]} cannot be converted to Core ML: {words}",
        where=lines[0] if lines else "",
        do="write it with other operations",
    )


def make_reproducible(path: Path) -> None:
    """Takes dates, random identifiers and repeated constants out of a package, orders its maps."""
    model_file, _ = model_files(path)
    model = read_model(model_file)
    shared.share(model)
    model.description.metadata.userDefined.pop(CONVERSION_DATE, None)
    model_file.write_bytes(model.SerializeToString(deterministic=True))
    manifest_file = path / "Manifest.json"
    manifest = json.loads(manifest_file.read_bytes())
    names = {old: _identifier(e["path"]) for old, e in manifest["itemInfoEntries"].items()}
    entries = {names[old]: entry for old, entry in manifest["itemInfoEntries"].items()}
    manifest["itemInfoEntries"] = entries
    manifest["rootModelIdentifier"] = names[manifest["rootModelIdentifier"]]
    manifest_file.write_text(json.dumps(manifest, indent=4, sort_keys=True) + "\n")


def _identifier(name: str) -> str:
    return str(uuid.uuid5(NAMESPACE, name)).upper()


def repeated_numbers(path: Path) -> tuple[str, ...]:
    """A note on each large constant that is one number over and over, which a scalar could be."""
    notes = []
    for function in mil.open_package(path).functions.values():
        for operation in function.block.operations:
            declared = operation.results[0].type if operation.results else None
            if operation.type != "const" or not isinstance(declared, TensorType):
                continue
            if declared.dtype == "string" or declared.nbytes < LARGE:
                continue
            (constant,) = operation.arguments["val"]
            array = constant.load() if not isinstance(constant, str) else np.zeros(0)
            if array.size and (array == array.flat[0]).all():
                notes.append(
                    f"stores {array.nbytes / 1e6:.2f} MB of {array.flat[0]}: {declared} "
                    f"'{operation.name}'; multiply by a mask or use a scalar instead"
                )
    return tuple(notes)


def _check_ports(artifact: Artifact, package: mil.Package) -> None:
    """BadArtifact unless the package has exactly the tensors that the ports say."""
    main = package.main
    types = {v.name: v.type for v in main.inputs}
    _check_types("input", artifact.inputs, types)
    computed = {r.name: r.type for o in main.block.operations for r in o.results} | types
    outputs = {name: computed[name] for name in main.outputs if name in computed}
    _check_types("output", artifact.outputs, outputs)


def _check_types(noun: str, ports: tuple[Port, ...], types: dict[str, Any]) -> None:
    if {p.stored_as for p in ports} != set(types):
        raise BadArtifact(
            f"{noun}s {', '.join(sorted(types))} are stored, "
            f"{', '.join(sorted(p.stored_as for p in ports))} declared"
        )
    for port in ports:
        stored = types[port.stored_as]
        if not isinstance(stored, TensorType) or stored.numpy != np.dtype(port.dtype):
            raise BadArtifact(f"{noun} '{port.name}' is stored as {stored}, not {port.dtype}")
        if not stored.admits(port.shape):
            raise BadArtifact(f"{noun} '{port.name}' is stored as {stored}, not {port.shape}")


def open_runner(artifact: Artifact, compute: str = "all") -> Runner:
    """Core ML itself on a Mac (`compute`: a key of UNITS), else `mil`."""
    if sys.platform == "darwin":
        return CoreMlRunner(artifact, compute)
    return MilRunner(artifact)


class MilRunner:
    """Executes the saved program over torch: the whole of it, not only what its types promise."""

    backend = "mil"

    def __init__(self, artifact: Artifact) -> None:
        package = mil.open_package(artifact.path)
        _check_ports(artifact, package)
        self._ports = artifact
        self._interpreter = package.main.interpreter()

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        stored = self._interpreter.run(_stored(self._ports, inputs))
        return _logical(self._ports, stored)

    def close(self) -> None:
        del self._interpreter


UNITS = {
    "all": "coreml",
    "cpu_only": "coreml-cpu",
    "cpu_and_gpu": "coreml-gpu",
    "cpu_and_ne": "coreml-ane",
}
"""Compute units, and the backend that Core ML is with them."""


class CoreMlRunner:
    """Core ML through coremltools' documented `MLModel.predict`; only on macOS."""

    def __init__(self, artifact: Artifact, compute: str = "all") -> None:
        ct = coremltools()
        self.backend = UNITS[compute]
        self._ports = artifact
        self._model = ct.models.MLModel(
            str(artifact.path), compute_units=ct.ComputeUnit[compute.upper()]
        )

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        return _logical(self._ports, self._model.predict(_stored(self._ports, inputs)))

    def close(self) -> None:
        del self._model


def _stored(artifact: Artifact, inputs: Tensors) -> dict[str, np.ndarray]:
    names = {p.name for p in artifact.inputs}
    if set(inputs) != names:
        raise BadArtifact(f"inputs {', '.join(sorted(inputs))} for {', '.join(sorted(names))}")
    return {p.stored_as: p.to_stored(inputs[p.name]) for p in artifact.inputs}


def _logical(artifact: Artifact, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    missing = [p.stored_as for p in artifact.outputs if p.stored_as not in stored]
    if missing:
        raise BadArtifact(f"output '{missing[0]}' is missing", where=str(artifact.path))
    return {p.name: p.to_logical(np.asarray(stored[p.stored_as])) for p in artifact.outputs}
