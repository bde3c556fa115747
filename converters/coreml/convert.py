"""Converts an export to an `.mlpackage`, by coremltools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters import mil
from converters.api import Artifact, Export, Layers, Port
from converters.coreml import defects, grids
from converters.coreml.names import core_ml_name, plain_name, restore_names
from converters.coreml.ports import check_ports
from converters.coreml.reproducible import make_reproducible
from converters.coreml.tools import coremltools, quiet
from converters.mil import rules
from converters.mil.types import TensorType
from model_defs.errors import CannotWrite, ConversionFailed, UnsupportedOperation
from model_defs.spec import TensorSpec

FILE = "model.mlpackage"


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


def preload() -> None:
    """Imports what a conversion needs, ahead of one."""
    coremltools()


def convert(export: Export, directory: Path) -> Artifact:
    """Writes `directory/model.mlpackage`, the same bytes for the same export everywhere.

    Raises UnsupportedOperation with the PyTorch operation or the rule of Core ML that stands
    against it, and its line; ConversionFailed with coremltools' last words, CannotWrite.
    To be called in a process of its own.
    """
    import torch

    module = torch.jit.load(str(export.torchscript), map_location="cpu").eval()
    restore_names(module.forward.graph)
    layers = export.layers_by_value()
    path = directory / FILE
    model = _converted(module, export)
    try:
        model.save(str(path))
        make_reproducible(path)
    except OSError as error:
        raise CannotWrite(f"the package cannot be written: {error}", where=str(path)) from error
    package = mil.open_package(path)
    _refuse(package.main, layers)
    artifact = Artifact(
        path,
        "coreml",
        export.precision,
        tuple(_port(spec, INPUTS) for spec in export.inputs),
        tuple(_port(spec, OUTPUTS) for spec in export.outputs),
        notes=(*repeated_numbers(path), *rules.warnings(package.main)),
    )
    check_ports(artifact, package)
    return artifact


def _refuse(function: mil.Function, layers: Layers) -> None:
    """UnsupportedOperation where Core ML does not load it, or computes something else."""
    for finding in rules.findings(function):
        if finding.rule.kind != "unit":
            where = _line(function, finding.operation, layers)
            raise UnsupportedOperation(finding.what, where=where, do=finding.do)


def _line(function: mil.Function, operation: str, layers: Layers) -> str:
    """The user's line of an operation: that of the next named one, of which it is a part."""
    known = {core_ml_name(value): str(layer["source"]) for value, layer in layers.items()}
    results = [r.name for o in function.block.operations for r in o.results]
    after = results[results.index(operation) :] if operation in results else []
    return next((known[name] for name in map(plain_name, after) if name in known), "")


INPUTS = {"float32": "float32", "int32": "int32", "int64": "int32", "bool": "float32"}
OUTPUTS = {"float32": "float32", "int32": "int32", "int64": "int32", "bool": "int32"}
"""A package takes and gives floats and int32 alone. coremltools itself makes booleans of floats."""


def _port(spec: TensorSpec, types: Mapping[str, str]) -> Port:
    """Where the tensor is; coremltools renames what MIL has a word for: `state`, `any`."""
    from coremltools.converters.mil.mil.passes.defs.preprocess import NameSanitizer

    stored_as = NameSanitizer().sanitize_name(spec.name)
    return Port.of(spec, channels_last=False, stored_as=stored_as, dtype=types[spec.dtype])


def _numpy(name: str) -> Any:
    return np.dtype(name).type


def _input(ct: Any, spec: TensorSpec) -> Any:
    found = ct.TensorType(spec.name, spec.shape, dtype=_numpy(INPUTS[spec.dtype]))
    if spec.dtype == "bool":  # refused there, and taken by all that follows
        found.dtype = ct.converters.mil.mil.types.bool
    return found


def _converted(module: Any, export: Export) -> Any:
    ct = coremltools()
    defects.repair()
    target = _target(module, export)
    with quiet() as failed:
        try:
            return ct.convert(
                module,
                convert_to="mlprogram",
                inputs=[_input(ct, spec) for spec in export.inputs],
                outputs=[
                    ct.TensorType(s.name, dtype=_numpy(OUTPUTS[s.dtype])) for s in export.outputs
                ],
                minimum_deployment_target=ct.target[target],
                compute_precision=grids.precision(
                    export.precision, export.grids, mixed=export.mixed
                ),
                pass_pipeline=grids.pipeline(export.grids, target),
                skip_model_load=True,
            )
        except FAILURES as error:
            refusal = _explained(error, failed, module.inlined_graph, export.layers_by_value())
    raise refusal  # out here, or the traceback keeps coremltools' temporary files alive


def _target(module: Any, export: Export) -> str:
    """The first iOS that has what it needs: functions of several sizes came with iOS 18."""
    if export.several:
        return "iOS18"
    kinds = {node.kind() for node in defects.operations(module.inlined_graph)}
    on_grids = "aten::fake_quantize_per_tensor_affine" in kinds
    return grids.target(export.grids, activations=on_grids)


def _explained(
    error: Exception, failed: list[str], graph: Any, layers: Layers
) -> UnsupportedOperation | ConversionFailed:
    """coremltools' refusal with the operation's name and its line of PyTorch, where it is one."""
    words = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, KeyError):
        words = f"it knows no {words} among what this operation may be told"
    if not failed:
        return ConversionFailed(f"coremltools: {words}")
    lines = [
        defects.source(node, layers)
        for node in defects.operations(graph)
        if node.kind().partition("::")[2].strip("_").lower() == failed[0].strip("_").lower()
    ]
    return UnsupportedOperation(
        f"aten::{failed[0]} cannot be converted to Core ML: {words}",
        where=lines[0] if lines else "",
        do="write it with other operations",
    )


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
