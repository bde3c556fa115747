"""What runtimes computed in between, by PyTorch's names of the values and in its layout.

A backend's `watch` reads them, where its runtime shows them: see `converters.format.Backend`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from converters.api import Artifact, Export, Tensors
from converters.intermediates import onnx
from converters.intermediates.origins import Origins, origins
from converters.intermediates.traced import Traced


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
        assert export.graph is not None, "an export that has travelled has no graph"
        self.traced = Traced(export.graph)
        self.given = [np.asarray(inputs[spec.name], spec.dtype) for spec in export.inputs]
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
"""Yields what a backend computed of an artifact on the inputs of a guide."""


def as_pytorch(
    origin: tuple[str, tuple[int, ...]], name: str, array: np.ndarray, guide: Guide
) -> Iterator[Observed]:
    """A tensor as PyTorch lays it out, if PyTorch has it.

    `origin` is the ONNX value that it holds, and the order of axes in which it does.
    """
    onnx_name, order = origin
    value = guide.onnx_names.get(onnx_name)
    if value is None or array.dtype != np.float32:
        return
    if array.ndim == len(order):
        array = array.transpose(np.argsort(order))
    yield Observed(value, name, np.ascontiguousarray(array))
