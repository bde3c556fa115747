"""A format in one module: the ONNX file itself, run by ONNX Runtime."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure.timing.runtime import Runtime
from converters.api import Artifact, Export, Port, Tensors
from converters.contents import Item, tensor_item
from converters.format import Backend, Format
from converters.numbers import StoredConstant


def convert(export: Export, directory: Path) -> Artifact:
    path = directory / "model.onnx"
    shutil.copy(export.onnx, path)
    ports = [
        tuple(Port.of(spec, channels_last=False) for spec in specs)
        for specs in (export.inputs, export.outputs)
    ]
    return Artifact(path, "toy", export.precision, *ports)


class ToyRunner:
    """The file in ONNX Runtime."""

    backend = "toy-onnxruntime"

    def __init__(self, artifact: Artifact) -> None:
        import onnxruntime

        self._artifact = artifact
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(str(artifact.path), providers=providers)

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        given = {p.stored_as: p.to_stored(inputs[p.name]) for p in self._artifact.inputs}
        ports = self._artifact.outputs
        found = self._session.run([p.stored_as for p in ports], given)
        return {p.name: p.to_logical(array) for p, array in zip(ports, found, strict=True)}

    def close(self) -> None:
        del self._session


def read(path: Path) -> Iterator[Item]:
    """The initializers."""
    import onnx
    from onnx import numpy_helper

    for stored in onnx.load(path).graph.initializer:
        array = numpy_helper.to_array(stored)
        name = stored.name.replace(".", "/")
        yield tensor_item(name, array, str(array.dtype), array.shape)


def numbers(artifact: Artifact) -> Iterator[StoredConstant]:
    """The floating-point initializers; those beside the file are not the artifact's."""
    import onnx
    from onnx import numpy_helper

    for stored in onnx.load(artifact.path, load_external_data=False).graph.initializer:
        if stored.data_type == onnx.TensorProto.FLOAT and not stored.external_data:
            yield StoredConstant(stored.name, numpy_helper.to_array(stored))


RUNTIMES = (
    Runtime(
        "toy-1",
        "toy",
        "ONNX Runtime, 1 thread",
        "benchmarks.measure.timing.references:onnxruntime",
        ("onnxruntime",),
        main=True,
    ),
)

TOY = Format(
    name="toy",
    target="server",
    summary="ONNX Runtime on a server",
    suffix=".onnx",
    source="onnx",
    convert="toy_format:convert",
    open_runner="toy_format:ToyRunner",
    contents="toy_format:read",
    numbers="toy_format:numbers",
    backends=(Backend("toy-onnxruntime", "ONNX Runtime", "toy_format:ToyRunner", 20),),
    runtimes="toy_format:RUNTIMES",
    packings=("gzip",),
    tools=("torch", "onnx"),
    stores=("float32",),
)
