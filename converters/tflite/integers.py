"""Operations of a .tflite file that compute in integers, where its tensors are on grids.

TFLite's converter writes a fake quantisation as a QUANTIZE and a DEQUANTIZE, and leaves what is
between them in floats. Here each operation whose inputs and results are on grids is made to
compute with their codes instead. The scales stay those of the export, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ai_edge_litert import schema_py_generated as schema

from converters.encodings import Encoding
from converters.tflite.codes import Codes, sign

OP, TYPE = schema.BuiltinOperator, schema.TensorType

KERNELS = {
    **{OP.CONV_2D: 0, OP.FULLY_CONNECTED: 0, OP.TRANSPOSE_CONV: 0},
    OP.DEPTHWISE_CONV_2D: 3,
}
"""Operations with a kernel and a bias, and the axis of its output channels."""

DATA = {OP.ADD: (0, 1), OP.TRANSPOSE_CONV: (2,)}
"""Where operations read maps, if not first of all."""

BIASES = {OP.TRANSPOSE_CONV: 3}
"""Where they read a bias, if not behind the kernel."""

SELECTS = (
    *(OP.CONCATENATION, OP.DEPTH_TO_SPACE, OP.EXPAND_DIMS, OP.MAX_POOL_2D, OP.MIRROR_PAD),
    *(OP.PAD, OP.RELU, OP.RESHAPE, OP.RESIZE_NEAREST_NEIGHBOR, OP.SLICE, OP.SPACE_TO_DEPTH),
    *(OP.SPLIT, OP.SQUEEZE, OP.STRIDED_SLICE, OP.TRANSPOSE),
)
"""Operations whose results are numbers that they read, or 0."""

VERSIONS = {
    **dict.fromkeys((*SELECTS, OP.ADD), 2),
    **dict.fromkeys((OP.DEPTH_TO_SPACE, OP.EXPAND_DIMS, OP.RESHAPE, OP.SQUEEZE), 1),
    **dict.fromkeys((OP.CONV_2D, OP.DEPTHWISE_CONV_2D, OP.TRANSPOSE_CONV), 3),
    OP.FULLY_CONNECTED: 12,
}
"""The first version of each that computes with codes, a scale for each channel of a kernel."""


def compute(model: schema.ModelT, grids: Sequence[Encoding]) -> None:
    """Makes what can be computed with codes be computed so; kernels are on some of the grids."""
    (graph,) = model.subgraphs
    for tensor in graph.tensors:
        sign(tensor)
    work = _Work(model, graph, Codes(model, grids))
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
    tensors: Codes
    codes: dict[int, int] = field(default_factory=dict)
    made: set[int] = field(default_factory=set)
    kept: list[schema.OperatorT] = field(default_factory=list)
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
        elif kind in KERNELS or kind == OP.ADD:
            self._compute(operator, kind)
        self.kept.append(operator)

    def operators(self) -> list[schema.OperatorT]:
        """What is left, with a DEQUANTIZE before the first that reads floats on a grid."""
        found: list[schema.OperatorT] = []
        floats: set[int] = set()
        # The graph's outputs are read as well: an operation that stands for their reader comes
        # last, and is taken off again.
        for operator in (*self.kept, schema.OperatorT(inputs=self.graph.outputs)):
            for index in map(int, operator.inputs):
                if index in self.codes and index not in floats:
                    floats.add(index)
                    ends = {"inputs": [self.codes[index]], "outputs": [index]}
                    found.append(schema.OperatorT(opcodeIndex=self.unpack, **ends))
            found.append(operator)
        return found[:-1]

    def _kind(self, operator: schema.OperatorT) -> int:
        return int(self.model.operatorCodes[operator.opcodeIndex].builtinCode)

    def _select(self, operator: schema.OperatorT, kind: int) -> None:
        """What only moves numbers moves codes."""
        data = [i for i in map(int, operator.inputs) if self.tensors.is_float(i)]
        grids = {self.tensors.grid(self.codes[i]) for i in data if i in self.codes}
        # One code is another number on another grid: what is joined has to lie on the same.
        if len(grids) != 1 or not self.codes.keys() >= set(data):
            return
        results = [self.tensors.in_place_of(int(i), self.codes[data[0]]) for i in operator.outputs]
        self.codes |= dict(zip(map(int, operator.outputs), results, strict=True))
        self._rewrite(operator, kind, [self.codes.get(int(i), int(i)) for i in operator.inputs])
        operator.outputs = results

    def _compute(self, operator: schema.OperatorT, kind: int) -> None:
        """What computes numbers computes with codes, where a QUANTIZE alone reads its result."""
        data = {int(operator.inputs[place]) for place in DATA.get(kind, (0,))}
        if not self.codes.keys() >= data:
            return
        # Only a QUANTIZE says which grid a result goes to, and codes need one.
        result = self._quantized(int(operator.outputs[0]))
        if result is None:
            return
        inputs = [self.codes.get(int(i), int(i)) for i in operator.inputs]
        if kind in KERNELS and not self._encode(inputs, kind):
            return
        self._rewrite(operator, kind, inputs)
        codes, floats = self.graph.tensors[result], self.graph.tensors[operator.outputs[0]]
        codes.name += b";" + floats.name  # as TFLite's converter names what it has joined
        operator.outputs = [result]
        self.made.add(result)

    def _encode(self, inputs: list[int], kind: int) -> bool:
        """Puts the codes of kernel and bias in their place; False where they have none."""
        (data,), bias = DATA.get(kind, (0,)), BIASES.get(kind, 2)
        kernel = self.tensors.kernel(inputs[1], KERNELS[kind])
        if kernel is None:
            return False
        inputs[1], grid = kernel
        if len(inputs) > bias and inputs[bias] >= 0:
            inputs[bias] = self.tensors.bias(inputs[bias], inputs[data], grid)
        return True

    def _rewrite(self, operator: schema.OperatorT, kind: int, inputs: list[int]) -> None:
        operator.inputs = inputs
        code = self.model.operatorCodes[operator.opcodeIndex]
        # The code is that of operations in floats, too, which later versions run as well.
        code.version = max(code.version, VERSIONS[kind])

    def _quantized(self, index: int) -> int | None:
        """The codes of a tensor that a QUANTIZE alone reads; None for any other."""
        readers = [op for op in self.graph.operators if index in map(int, op.inputs)]
        # Any other reader wants the floats before they are rounded, which would be gone.
        if len(readers) != 1 or index in map(int, self.graph.outputs):
            return None
        return int(readers[0].outputs[0]) if self._kind(readers[0]) == OP.QUANTIZE else None


def _drop_unused(model: schema.ModelT, graph: schema.SubGraphT) -> None:
    """Takes out the tensors that no operation reads or makes any more, and their numbers."""
    ports = [*map(int, graph.inputs), *map(int, graph.outputs)]
    ends = (int(i) for op in graph.operators for i in (*op.inputs, *op.outputs))
    # -1 is an input that is left out, such as a bias.
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
