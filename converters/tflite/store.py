"""How the numbers of a .tflite file are stored: our own pass over its flatbuffer.

TFLite's converter can store float16 itself, but in another order in every run; its float32
file is always the same, and from that one we store each constant as we choose.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.api import Port
from converters.lowering.activation import GELU_CARRIER
from converters.lowering.lower import Lowered
from model_defs.errors import ConversionFailed

IDENTIFIER = b"TFL3"
SIGNATURE = "serving_default"
ALIGNMENT = 16
PLACEHOLDER = 127
"""The old code, of one byte, of an operation whose code is larger than that."""


class Buffer(schema.BufferT):
    """A buffer whose bytes lie at the alignment that the format's schema asks for."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802
        data = b"" if self.data is None else bytes(self.data)
        start = 0
        if data:
            builder.StartVector(1, len(data), ALIGNMENT)
            builder.head -= len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            start = builder.EndVector()
        schema.BufferStart(builder)
        if data:
            schema.BufferAddData(builder, start)
        return schema.BufferEnd(builder)


def stored(data: bytes, lowered: Lowered, precision: str) -> bytes:
    """The file with a signature of the ports' names, and its weights at a precision."""
    model = schema.ModelT.InitFromPackedBuf(data)
    (graph,) = model.subgraphs
    resolve_gelu(model)
    model.signatureDefs = [
        schema.SignatureDefT(
            inputs=_named(graph, lowered.inputs, graph.inputs),
            outputs=_named(graph, lowered.outputs, graph.outputs),
            signatureKey=SIGNATURE,
        )
    ]
    if precision == "float16":
        store_as_float16(model)
    elif precision != "float32":
        raise ConversionFailed(f"TFLite does not store {precision} weights", do="use float16")
    return packed(model)


def resolve_gelu(model: schema.ModelT) -> None:
    """Puts TFLite's GELU in the place of the custom operation that stands for it.

    Raises ConversionFailed for any other custom operation.
    """
    gelu, custom = schema.BuiltinOperator.GELU, schema.BuiltinOperator.CUSTOM
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode != custom:
            continue
        name = (code.customCode or b"").decode()
        if name != GELU_CARRIER:
            raise ConversionFailed(f"TFLite has no operation {name}")
        model.operatorCodes[index] = schema.OperatorCodeT(
            deprecatedBuiltinCode=PLACEHOLDER, builtinCode=gelu, version=1
        )
        for operator in (op for op in model.subgraphs[0].operators if op.opcodeIndex == index):
            operator.customOptions = None
            operator.builtinOptionsType = schema.BuiltinOptions.GeluOptions
            operator.builtinOptions = schema.GeluOptionsT(approximate=False)


def _named(
    graph: schema.SubGraphT, ports: Sequence[Port], indices: Sequence[int]
) -> list[schema.TensorMapT]:
    """The tensors of the ports, which the converter was given and returns in order."""
    maps = []
    for port, index in zip(ports, indices, strict=True):
        graph.tensors[index].name = port.stored_as.encode()
        maps.append(schema.TensorMapT(name=port.stored_as, tensorIndex=int(index)))
    return maps


def packed(model: schema.ModelT) -> bytes:
    for buffer in model.buffers:
        buffer.__class__ = Buffer
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _dequantize(model: schema.ModelT) -> int:
    """The index of DEQUANTIZE, in the version that takes float16, among the operator codes."""
    dequantize = schema.BuiltinOperator.DEQUANTIZE
    model.operatorCodes.append(
        schema.OperatorCodeT(deprecatedBuiltinCode=dequantize, builtinCode=dequantize, version=3)
    )
    return len(model.operatorCodes) - 1


def store_as_float16(model: schema.ModelT) -> None:
    """Stores constants as float16, each behind a DEQUANTIZE.

    XNNPACK unpacks them once, when the file is loaded; what several operations read has a
    DEQUANTIZE for each of them, or a bias that is also an operand keeps its convolutions out of
    the partition. What float16 cannot hold (beyond
    65504, or infinite) stays float32, as do scalars, among them every epsilon. A bias of one
    element does not: XNNPACK wants it like its filter.
    """
    (graph,) = model.subgraphs
    code = _dequantize(model)
    constants = [(tensor, float32_constant(model, tensor)) for tensor in graph.tensors]
    operators = []
    for index, (tensor, array) in enumerate(constants):
        if array is None or not fits_float16(array):
            continue
        model.buffers[tensor.buffer].data = array.astype(np.float16).view(np.uint8)
        half = schema.TensorT(
            shape=tensor.shape,
            type=schema.TensorType.FLOAT16,
            buffer=tensor.buffer,
            name=tensor.name,
            hasRank=tensor.hasRank,
        )
        graph.tensors.append(half)
        tensor.buffer, tensor.name = 0, tensor.name + b"/float32"
        source = len(graph.tensors) - 1
        operators += [
            schema.OperatorT(opcodeIndex=code, inputs=[source], outputs=[unpacked])
            for unpacked in _one_for_each_reader(graph, index)
        ]
    graph.operators = operators + graph.operators


def _one_for_each_reader(graph: schema.SubGraphT, index: int) -> list[int]:
    """The tensor, and a twin of it for each operation after the first that reads it."""
    readers = [op for op in graph.operators if index in list(op.inputs)]
    found = [index]
    for operation in readers[1:]:
        twin = copy.copy(graph.tensors[index])
        twin.name = b"%s/%d" % (twin.name, len(found))
        graph.tensors.append(twin)
        found.append(len(graph.tensors) - 1)
        operation.inputs = [found[-1] if i == index else int(i) for i in operation.inputs]
    return found


def fits_float16(array: np.ndarray) -> bool:
    return bool(array.ndim > 0 and np.abs(array).max() <= np.finfo(np.float16).max)


def float32_constant(model: schema.ModelT, tensor: schema.TensorT) -> np.ndarray | None:
    """The numbers of a constant tensor; None if it is computed or of another type."""
    data = model.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.FLOAT32 or data is None or not len(data):
        return None
    return np.frombuffer(bytes(data), np.float32).reshape(_sizes(tensor))


def _sizes(tensor: schema.TensorT) -> list[int]:
    return [] if tensor.shape is None else [int(n) for n in tensor.shape]
