"""Constants of a .tflite file in fewer bytes, each behind a DEQUANTIZE.

XNNPACK unpacks them once, when the file is loaded, and computes in float32: the numbers are
those of PyTorch to the bit.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.encodings import HALF, Encoding, is_exact, is_half, place

TYPES = {
    "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8,
    "int4": schema.TensorType.INT4,
}
VERSIONS = {"float16": 3, "int8": 5, "int4": 6}
"""The version of DEQUANTIZE that takes a type; int8 with a scale for each channel."""


def store(
    model: schema.ModelT,
    precision: str,
    grids: Sequence[Encoding] = (),
    *,
    mixed: bool = False,
) -> None:
    """Stores each constant that lies on a grid as codes, and others at the precision.

    What several operations read has a DEQUANTIZE for each of them, or a bias that is also an
    operand keeps its convolutions out of the partition. Multiplications share one: XNNPACK
    keeps an unpacked copy for each, and recurrent weights are read by one at each step. What
    float16 cannot hold (beyond 65504, or infinite) stays float32, as do scalars, among them
    every epsilon. A bias of one element does not: XNNPACK wants it like its filter.
    """
    (graph,) = model.subgraphs
    operators = []
    for index, (array, encoding) in _chosen(model, precision, grids, mixed).items():
        source = _packed(model, graph.tensors[index], array, encoding)
        if encoding.is_grid:
            graph.tensors[source].quantization = scales_of(encoding)
        code = _dequantize(model, VERSIONS[encoding.dtype])
        operators += [
            schema.OperatorT(opcodeIndex=code, inputs=[source], outputs=[unpacked])
            for unpacked in _one_for_each_reader(model, index)
        ]
    # Operations run in the order of this list.
    graph.operators = operators + graph.operators


def _chosen(
    model: schema.ModelT, precision: str, grids: Sequence[Encoding], mixed: bool
) -> dict[int, tuple[np.ndarray, Encoding]]:
    """Tensor -> its numbers and how they are stored.

    What is read together with codes of 8 bits stays float32, and in a mixed file what is read
    with a kernel that float16 does not hold exactly: XNNPACK takes no convolution that has a
    float16 bias and another filter. One of 4 bits it does not take anyway. A constant that is an
    output stays float32 likewise: XNNPACK cannot run a DEQUANTIZE that makes nothing else.
    """
    (graph,) = model.subgraphs
    outputs = set(map(int, graph.outputs))
    arrays = {i: float32_constant(model, tensor) for i, tensor in enumerate(graph.tensors)}
    large = {i: array for i, array in arrays.items() if array is not None and array.ndim}
    found = {
        i: (array, grid)
        for i, array in large.items()
        if i not in outputs and (grid := place(array, grids))
    }
    apart = set(outputs)
    for operator in graph.operators:
        read = set(map(int, operator.inputs)) & large.keys()
        # The largest constant that an operation reads is taken for its kernel.
        kernel = max(read, key=lambda i: large[i].size, default=-1)
        is_byte = any(found[i][1].dtype == "int8" for i in read & found.keys())
        if is_byte or read & outputs or (mixed and read and not is_exact(large[kernel])):
            apart |= read
    for index, array in large.items():
        if index not in found and index not in apart and is_half(array, precision):
            found[index] = (array, HALF)
    return dict(sorted(found.items()))


def constants(data: bytes) -> dict[str, np.ndarray]:
    """The numbers of a float32 file's constants, by name."""
    model = schema.ModelT.InitFromPackedBuf(data)
    named = {t.name.decode(): float32_constant(model, t) for t in model.subgraphs[0].tensors}
    return {name: array for name, array in named.items() if array is not None}


def _packed(
    model: schema.ModelT, tensor: schema.TensorT, array: np.ndarray, encoding: Encoding
) -> int:
    """The index of a new tensor that holds a constant's codes, in the buffer of the constant."""
    (graph,) = model.subgraphs
    # The old tensor stays, as what the DEQUANTIZE makes: computed, hence of buffer 0, which the
    # format wants empty.
    model.buffers[tensor.buffer].data = np.frombuffer(data_of(array, encoding), np.uint8)
    packed = schema.TensorT(
        shape=tensor.shape,
        type=TYPES[encoding.dtype],
        buffer=tensor.buffer,
        name=tensor.name,
        hasRank=tensor.hasRank,
    )
    graph.tensors.append(packed)
    tensor.buffer, tensor.name = 0, None  # nobody asks for it by name, and names are bytes
    return len(graph.tensors) - 1


def data_of(array: np.ndarray, encoding: Encoding) -> bytes:
    """A constant's bytes; of 4 bits the first is the low half of a byte."""
    if not encoding.is_grid:
        return array.astype(np.float16).tobytes()
    codes = encoding.codes(array)
    if encoding.dtype == "int8":
        return codes.tobytes()
    # An odd last code gets a partner, for half a byte cannot be stored.
    nibbles = np.append(codes.ravel(), np.int8(0)) if codes.size % 2 else codes.ravel()
    pairs = nibbles.view(np.uint8).reshape(-1, 2) & 0xF
    return (pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8).tobytes()


def scales_of(grid: Encoding) -> schema.QuantizationParametersT:
    return schema.QuantizationParametersT(
        scale=np.asarray(grid.scales, np.float32),
        zeroPoint=np.zeros(len(grid.scales), np.int64),
        quantizedDimension=grid.axis,
    )


def _dequantize(model: schema.ModelT, version: int) -> int:
    """The index of a DEQUANTIZE of this version among the operator codes, added if need be."""
    dequantize = schema.BuiltinOperator.DEQUANTIZE
    for index, code in enumerate(model.operatorCodes):
        if (code.builtinCode, code.version) == (dequantize, version):
            return index
    model.operatorCodes.append(
        schema.OperatorCodeT(
            deprecatedBuiltinCode=dequantize, builtinCode=dequantize, version=version
        )
    )
    return len(model.operatorCodes) - 1


def _one_for_each_reader(model: schema.ModelT, index: int) -> list[int]:
    """The tensor, and a twin of it for each operation after the first that reads it.

    All multiplications count as one.
    """
    (graph,) = model.subgraphs
    readers = [op for op in graph.operators if index in list(op.inputs)]
    products = [op for op in readers if _code(model, op) == schema.BuiltinOperator.MUL]
    others = [[op] for op in readers if op not in products]
    found = [index]
    for group in (others + [products] * bool(products))[1:]:
        graph.tensors.append(copy.copy(graph.tensors[index]))
        found.append(len(graph.tensors) - 1)
        for operation in group:
            operation.inputs = [found[-1] if i == index else int(i) for i in operation.inputs]
    return found


def _code(model: schema.ModelT, operator: schema.OperatorT) -> int:
    return int(model.operatorCodes[operator.opcodeIndex].builtinCode)


def float32_constant(model: schema.ModelT, tensor: schema.TensorT) -> np.ndarray | None:
    """The numbers of a constant tensor; None if it is computed or of another type."""
    data = model.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.FLOAT32 or data is None or not len(data):
        return None
    return np.frombuffer(bytes(data), np.float32).reshape(_sizes(tensor))


def _sizes(tensor: schema.TensorT) -> list[int]:
    return [] if tensor.shape is None else [int(n) for n in tensor.shape]
