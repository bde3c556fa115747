"""Tensors of codes: in the place of floats on a grid, and of constants on one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.encodings import Encoding, place
from converters.tflite.weights import float32_constant, scales_of

TYPE = schema.TensorType

SIGNED = 128
"""By how much the codes of int8 are below those of uint8."""


@dataclass
class Codes:
    """Adds tensors to a graph, whose kernels are on some of the grids."""

    model: schema.ModelT
    grids: Sequence[Encoding]
    _kernels: dict[int, tuple[int, Encoding]] = field(default_factory=dict)

    @property
    def graph(self) -> schema.SubGraphT:
        return self.model.subgraphs[0]

    def is_float(self, index: int) -> bool:
        return index >= 0 and self.graph.tensors[index].type == TYPE.FLOAT32

    def grid(self, index: int) -> tuple[float, int]:
        """The scale and the zero of a tensor of codes."""
        found = self.graph.tensors[index].quantization
        return float(found.scale[0]), int(found.zeroPoint[0])

    def in_place_of(self, index: int, like: int) -> int:
        """A tensor of codes for one of floats, on the grid of another."""
        quantization = self.graph.tensors[like].quantization
        return self._added(_tensor(self.graph.tensors[index], TYPE.INT8, quantization))

    def kernel(self, index: int, axis: int) -> tuple[int, Encoding] | None:
        """The tensor of a kernel's codes and their grid; None where it is on none of int8."""
        if index not in self._kernels:
            array = float32_constant(self.model, self.graph.tensors[index])
            grid = None if array is None else place(array, self.grids)
            if grid is None or array is None or grid.dtype != "int8" or grid.block:
                return None
            if grid.axis != axis and len(grid.scales) > 1:
                return None
            new = _tensor(self.graph.tensors[index], TYPE.INT8, scales_of(grid))
            self._kernels[index] = self._added(new, grid.codes(array)), grid
        return self._kernels[index]

    def bias(self, index: int, source: int, kernel: Encoding) -> int:
        """The tensor of a bias in steps of the input's grid times the kernel's."""
        tensor = self.graph.tensors[index]
        array = float32_constant(self.model, tensor)
        assert array is not None, "TFLite's converter writes biases as constants"
        step = np.float32(self.grid(source)[0]) * np.asarray(kernel.scales, np.float32)
        grid = replace(kernel, scales=tuple(np.broadcast_to(step, array.shape).tolist()), axis=0)
        codes = np.rint(array / step.astype(np.float64)).astype(np.int32)
        return self._added(_tensor(tensor, TYPE.INT32, scales_of(grid)), codes)

    def _added(self, tensor: schema.TensorT, numbers: np.ndarray | None = None) -> int:
        """The index of a new tensor, a constant where it has numbers."""
        if numbers is not None:
            tensor.buffer = len(self.model.buffers)
            data = np.frombuffer(numbers.tobytes(), np.uint8)
            self.model.buffers.append(schema.BufferT(data=data))
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1


def sign(tensor: schema.TensorT) -> None:
    """The same grid with codes from -128, which kernels want; the converter's are from 0."""
    if tensor.type == TYPE.UINT8:
        tensor.type = TYPE.INT8
        tensor.quantization.zeroPoint = np.asarray(tensor.quantization.zeroPoint) - SIGNED


def _tensor(
    like: schema.TensorT, kind: int, quantization: schema.QuantizationParametersT
) -> schema.TensorT:
    """A tensor of another type, with no numbers."""
    return schema.TensorT(
        shape=like.shape,
        shapeSignature=like.shapeSignature,
        type=kind,
        name=like.name,
        hasRank=like.hasRank,
        quantization=quantization,
    )
