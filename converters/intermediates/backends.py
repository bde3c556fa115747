"""What runtimes computed in between, by PyTorch's names of the values and in its layout."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from converters.api import Artifact, Export, Tensors
from converters.intermediates import onnx
from converters.intermediates.origins import Origins, origins
from converters.intermediates.traced import Traced, TracedLayer


@dataclass(frozen=True)
class Observed:
    """A value that a runtime computed: PyTorch's name, the file's name, the numbers."""

    value: str
    stored_as: str
    array: np.ndarray


class Guide:
    """An export, and on some inputs its values in PyTorch and in ONNX, by which others are named.

    `program` is what was converted, so that its names are those of the files.
    """

    def __init__(self, export: Export, inputs: Tensors) -> None:
        self.export, self.inputs = export, inputs
        self.traced = Traced(export.torchscript)
        self.given = [np.asarray(inputs[spec.name], np.float32) for spec in export.inputs]
        self._origins: dict[str, Origins] = {}

    @cached_property
    def truth(self) -> dict[str, np.ndarray]:
        """PyTorch's value of every layer."""
        return self.traced.values(self.given, {layer.value for layer in self.traced.layers})

    @cached_property
    def onnx_values(self) -> dict[str, np.ndarray]:
        return onnx.values(self.export.onnx, self.inputs)

    @cached_property
    def onnx_names(self) -> dict[str, str]:
        """ONNX name -> PyTorch's name."""
        return onnx.pairs(self.onnx_values, self.truth)

    def origins(self, target: str) -> Origins:
        if target not in self._origins:
            self._origins[target] = origins(self.export, target)
        return self._origins[target]


Watch = Callable[[Artifact, Guide], Iterator[Observed]]


def _mil(precision: str) -> Watch:
    def watch(artifact: Artifact, guide: Guide) -> Iterator[Observed]:
        """Every value of the saved program whose name is one of PyTorch's."""
        from converters import mil

        layers = core_ml_layers(guide.traced)
        stored = {p.stored_as: p.to_stored(guide.inputs[p.name]) for p in artifact.inputs}
        trace: dict[str, np.ndarray] = {}
        mil.open_package(artifact.path).main.interpreter(precision).run(stored, trace)
        for name, array in trace.items():
            layer = layers.pop(plain_name(name), None)
            if layer is not None and array.dtype.kind == "f":
                yield Observed(layer.value, name, array.astype(np.float32))

    return watch


SUFFIXES = re.compile(r"(_has_output_shape)?(_cast_fp16)?$")
"""What coremltools adds to the name of a value."""


def plain_name(name: str) -> str:
    """A value's name in a Core ML program without what conversion adds to it."""
    return SUFFIXES.sub("", name)


def core_ml_layers(traced: Traced) -> dict[str, TracedLayer]:
    """PyTorch's layers by the plain names that their values have in a Core ML program."""
    return {_core_ml_name(layer.value): layer for layer in traced.layers}


def _core_ml_name(value: str) -> str:
    """The name that coremltools makes of a value's."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", value)
    return f"var_{name}" if name[0].isdigit() else name


def _litert(kernels: str) -> Watch:
    def watch(artifact: Artifact, guide: Guide) -> Iterator[Observed]:
        """Every tensor of the file that our lowering named."""
        from converters.tflite.names import FUSED, PREFIX, whole
        from converters.tflite.runner import intermediates

        found = intermediates(artifact, guide.inputs, kernels)
        known = guide.origins("tflite")
        place = {name: index for index, name in enumerate(known)}
        ports = {p.stored_as: p.name for p in artifact.outputs}
        for name, array in found.items():
            every = [PREFIX + part for part in whole(name).split(FUSED)]
            parts = [part for part in every if part in known]
            if name in ports:
                yield from _lowered((ports[name], (0, 2, 3, 1)), name, array, guide)
            elif parts:
                last = max(parts, key=place.__getitem__)
                yield from _lowered(known[last], name, array, guide)

    return watch


def _tfjs(artifact: Artifact, guide: Guide) -> Iterator[Observed]:
    """Every node of the graph that our lowering named."""
    from converters.tfjs.runner import NodeRunner

    known = guide.origins("tfjs")
    model = json.loads((artifact.path / "model.json").read_text(encoding="utf-8"))
    nodes = [node["name"] for node in model["modelTopology"]["node"] if node["op"] != "Const"]
    wanted = [node for node in nodes if node in known and known[node][0] in guide.onnx_names]
    runner = NodeRunner(artifact)
    try:
        found = runner.intermediates(guide.inputs, wanted)
    finally:
        runner.close()
    for name, array in found.items():
        yield from _lowered(known[name], name, array, guide)


def _lowered(
    origin: tuple[str, tuple[int, ...]], name: str, array: np.ndarray, guide: Guide
) -> Iterator[Observed]:
    """A tensor as PyTorch lays it out, if PyTorch has it."""
    onnx_name, order = origin
    value = guide.onnx_names.get(onnx_name)
    if value is None or array.dtype != np.float32:
        return
    if array.ndim == len(order):
        array = array.transpose(np.argsort(order))
    yield Observed(value, name, np.ascontiguousarray(array))


WATCHES: Mapping[str, Watch] = {
    "mil": _mil("exact"),
    "mil-weights-only": _mil("weights-only"),
    "litert": _litert("xnnpack"),
    "litert-reference": _litert("reference"),
    "tfjs-wasm": _tfjs,
}
"""The backends that show what they compute in between."""
