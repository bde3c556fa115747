"""Operations of a .tflite file that compute in integers, where its tensors are on grids.

TFLite's converter writes a fake quantisation as a QUANTIZE and a DEQUANTIZE, and leaves what is
between them in floats. Here each operation whose inputs and results are on grids is made to
compute with their codes instead. The scales stay those of the export, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.encodings import Encoding, place
from converters.tflite.weights import Scales, float32_constant

OP, TYPE = schema.BuiltinOperator, schema.TensorType

SIGNED = 128
"""By how much the codes of int8 are below those of uint8."""

KERNELS = {
    **{OP.CONV_2D: 0, OP.FULLY_CONNECTED: 0, OP.TRANSPOSE_CONV: 0},
    OP.DEPTHWISE_CONV_2D: 3,
}
"""Operations with a kernel and a bias, and the axis of its output channels."""

AVERAGES = (OP.RESIZE_BILINEAR,)
"""Operations that want one grid for what they read and what they make.

AVERAGE_POOL_2D is another, but with codes XNNPACK leaves it to LiteRT.
"""

SELECTS = (
    *(OP.CONCATENATION, OP.DEPTH_TO_SPACE, OP.EXPAND_DIMS, OP.MAX_POOL_2D, OP.MIRROR_PAD),
    *(OP.PAD, OP.RELU, OP.RESHAPE, OP.RESIZE_NEAREST_NEIGHBOR, OP.SLICE, OP.SPACE_TO_DEPTH),
    *(OP.SPLIT, OP.SQUEEZE, OP.STRIDED_SLICE, OP.TRANSPOSE),
)
"""Operations whose results are numbers that they read, or 0."""

VERSIONS = {
    **dict.fromkeys((*SELECTS, *AVERAGES, OP.ADD), 2),
    **dict.fromkeys((OP.DEPTH_TO_SPACE, OP.EXPAND_DIMS, OP.RESHAPE, OP.SQUEEZE), 1),
    **dict.fromkeys((OP.CONV_2D, OP.DEPTHWISE_CONV_2D, OP.TRANSPOSE_CONV), 3),
    OP.FULLY_CONNECTED: 12,
}
"""The first version of each that computes with codes, a scale for each channel of a kernel."""


def compute(model: schema.ModelT, grids: Sequence[Encoding]) -> None:
    """Makes what can be computed with codes be computed so; kernels are on some of the grids."""
    (graph,) = model.subgraphs
    for tensor in graph.tensors:
        _sign(tensor)
    work = _Work(model, graph, grids)
    for operator in graph.operators:
        work.look_at(operator)
    if work.codes:
        graph.operators = work.operators()
        _drop_unused(model, graph)


@dataclass
class _Work:
    """`codes` has, of a tensor of floats on a grid, the tensor of their codes.

    `made` are the tensors of codes that an operation makes in the place of a QUANTIZE.
    """

    model: schema.ModelT
    graph: schema.SubGraphT
    grids: Sequence[Encoding]
    codes: dict[int, int] = field(default_factory=dict)
    made: set[int] = field(default_factory=set)
    kept: list[schema.OperatorT] = field(default_factory=list)
    kernels: dict[int, tuple[int, Encoding]] = field(default_factory=dict)
    zeros: dict[int, int] = field(default_factory=dict)
    unpack: int = 0

    def look_at(self, operator: schema.OperatorT) -> None:
        """Takes operations in the order in which they run, so that what one reads is known."""
        kind = self._kind(operator)
        source, result = int(operator.inputs[0]), int(operator.outputs[0])
        if kind == OP.DEQUANTIZE and self.graph.tensors[source].type == TYPE.INT8:
            self.codes[result], self.unpack = source, operator.opcodeIndex
            return  # `operators` puts one where floats are read
        if kind == OP.QUANTIZE and result in self.made:
            return
        if kind in SELECTS:
            self._select(operator, kind)
        elif kind in KERNELS or kind in AVERAGES or kind == OP.ADD:
            self._compute(operator, kind)
        self.kept.append(operator)

    def operators(self) -> list[schema.OperatorT]:
        """What is left, with a DEQUANTIZE before the first that reads floats on a grid."""
        found: list[schema.OperatorT] = []
        floats: set[int] = set()
        for operator in (*self.kept, schema.OperatorT(inputs=self.graph.outputs)):
            for index in map(int, operator.inputs):
                if index in self.codes and index not in floats:
                    floats.add(index)
                    found.append(
                        schema.OperatorT(
                            opcodeIndex=self.unpack, inputs=[self.codes[index]], outputs=[index]
                        )
                    )
            found.append(operator)
        return found[:-1]

    def _kind(self, operator: schema.OperatorT) -> int:
        return int(self.model.operatorCodes[operator.opcodeIndex].builtinCode)

    def _select(self, operator: schema.OperatorT, kind: int) -> None:
        """What only moves numbers moves codes."""
        data = [i for i in map(int, operator.inputs) if self._is_float(i)]
        grids = {self._grid(self.codes[i]) for i in data if i in self.codes}
        if len(grids) != 1 or not self.codes.keys() >= set(data):
            return
        like = self.graph.tensors[self.codes[data[0]]]
        results = []
        for index in map(int, operator.outputs):
            old = self.graph.tensors[index]
            new = _tensor(old, TYPE.INT8, like.quantization)
            results.append(self._added(new))
            self.codes[index] = results[-1]
        self._rewrite(operator, kind, [self.codes.get(int(i), int(i)) for i in operator.inputs])
        operator.outputs = results

    def _compute(self, operator: schema.OperatorT, kind: int) -> None:
        """What computes numbers, where a QUANTIZE alone reads them."""
        result = self._quantized(int(operator.outputs[0]))
        count = {OP.ADD: 2}.get(kind, 1)
        place_of = 2 if kind == OP.TRANSPOSE_CONV else 0
        data = [int(i) for i in operator.inputs[place_of : place_of + count]]
        if result is None or not self.codes.keys() >= set(data):
            return
        inputs = [self.codes.get(int(i), int(i)) for i in operator.inputs]
        if kind in AVERAGES and self._grid(inputs[0]) != self._grid(result):
            return
        if kind in KERNELS:
            kernel = self._kernel(int(operator.inputs[1]), KERNELS[kind])
            if kernel is None:
                return
            inputs[1], grid = kernel
            where = place_of + 1 if place_of else 2
            if len(inputs) > where and inputs[where] >= 0:
                inputs[where] = self._bias(inputs[where], inputs[place_of], grid)
        self._rewrite(operator, kind, inputs)
        codes, floats = self.graph.tensors[result], self.graph.tensors[operator.outputs[0]]
        codes.name = b";".join(
            (codes.name, floats.name)
        )  # as TFLite's converter names what it joins
        operator.outputs = [result]
        self.made.add(result)

    def _rewrite(self, operator: schema.OperatorT, kind: int, inputs: list[int]) -> None:
        operator.inputs = inputs
        code = self.model.operatorCodes[operator.opcodeIndex]
        code.version = max(code.version, VERSIONS[kind])

    def _quantized(self, index: int) -> int | None:
        """The codes of a tensor that a QUANTIZE alone reads; None for any other."""
        readers = [op for op in self.graph.operators if index in map(int, op.inputs)]
        if len(readers) != 1 or index in map(int, self.graph.outputs):
            return None
        return int(readers[0].outputs[0]) if self._kind(readers[0]) == OP.QUANTIZE else None

    def _is_float(self, index: int) -> bool:
        return index >= 0 and self.graph.tensors[index].type == TYPE.FLOAT32

    def _grid(self, codes: int) -> tuple[float, int]:
        found = self.graph.tensors[codes].quantization
        return float(found.scale[0]), int(found.zeroPoint[0])

    def _kernel(self, index: int, axis: int) -> tuple[int, Encoding] | None:
        """The tensor of a kernel's codes and their grid; None where it is on none of int8."""
        if index not in self.kernels:
            array = float32_constant(self.model, self.graph.tensors[index])
            grid = None if array is None else place(array, self.grids)
            if grid is None or array is None or grid.dtype != "int8" or grid.block:
                return None
            if grid.axis != axis and len(grid.scales) > 1:
                return None
            new = _tensor(self.graph.tensors[index], TYPE.INT8, Scales(grid, self.zeros))
            self.kernels[index] = self._added(new, grid.codes(array)), grid
        return self.kernels[index]

    def _bias(self, index: int, source: int, kernel: Encoding) -> int:
        """The tensor of a bias in steps of the input's grid times the kernel's."""
        tensor = self.graph.tensors[index]
        array = float32_constant(self.model, tensor)
        assert array is not None, "TFLite's converter writes biases as constants"
        step = np.float32(self._grid(source)[0]) * np.asarray(kernel.scales, np.float32)
        grid = replace(kernel, scales=tuple(np.broadcast_to(step, array.shape).tolist()), axis=0)
        codes = np.rint(array / step.astype(np.float64)).astype(np.int32)
        return self._added(_tensor(tensor, TYPE.INT32, Scales(grid, self.zeros)), codes)

    def _added(self, tensor: schema.TensorT, numbers: np.ndarray | None = None) -> int:
        """The index of a new tensor, a constant where it has numbers."""
        if numbers is not None:
            tensor.buffer = len(self.model.buffers)
            data = np.frombuffer(numbers.tobytes(), np.uint8)
            self.model.buffers.append(schema.BufferT(data=data))
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1


def _sign(tensor: schema.TensorT) -> None:
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


def _drop_unused(model: schema.ModelT, graph: schema.SubGraphT) -> None:
    """Takes out the tensors that no operation reads or makes any more, and their numbers."""
    ports = [*map(int, graph.inputs), *map(int, graph.outputs)]
    ends = (int(i) for op in graph.operators for i in (*op.inputs, *op.outputs))
    used = sorted({*ports, *ends} - {-1})
    place_of = {old: new for new, old in enumerate(used)} | {-1: -1}
    held = {graph.tensors[index].buffer for index in used}
    for number in {tensor.buffer for tensor in graph.tensors} - held:
        model.buffers[number].data = None
    graph.tensors = [graph.tensors[index] for index in used]
    for operator in graph.operators:
        operator.inputs = [place_of[int(i)] for i in operator.inputs]
        operator.outputs = [place_of[int(i)] for i in operator.outputs]
    graph.inputs = [place_of[int(i)] for i in graph.inputs]
    graph.outputs = [place_of[int(i)] for i in graph.outputs]
