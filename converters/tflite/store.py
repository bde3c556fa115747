"""How the numbers of a .tflite file are stored: our own pass over its flatbuffer.

TFLite's converter can store float16 itself, but in another order in every run; its float32
file is always the same, and from that one we store each constant as we choose.
"""

from __future__ import annotations

from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.api import Port
from converters.encodings import Encoding
from converters.lowering.activation import GELU_CARRIER
from converters.lowering.lower import Lowered
from converters.tflite import integers, weights
from converters.tflite.host import SIGNATURE
from converters.tflite.trim import Once, SharingBuilder, trim
from model_defs.errors import UnsupportedOperation

IDENTIFIER = b"TFL3"
ALIGNMENT = 16
PLACEHOLDER = 127
"""The old code, of one byte, of an operation whose code is larger than that."""


class Buffer(schema.BufferT):
    """A buffer whose bytes lie at the alignment that the format's schema asks for."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802
        data = b"" if self.data is None else bytes(self.data)
        start = 0
        if data:
            # The generated code aligns bytes to their own size, 1. A flatbuffer is written from its
            # end to its beginning, so that the head moves down.
            builder.StartVector(1, len(data), ALIGNMENT)
            builder.head -= len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            start = builder.EndVector()
        schema.BufferStart(builder)
        if data:
            schema.BufferAddData(builder, start)
        return schema.BufferEnd(builder)


def stored(
    data: bytes,
    lowered: Lowered,
    precision: str,
    grids: Sequence[Encoding] = (),
    mixed: bool = False,
) -> bytes:
    """The file with a signature of the ports' names, its weights stored as an export says."""
    model = schema.ModelT.InitFromPackedBuf(data)
    (graph,) = model.subgraphs
    # In this order: `integers` makes codes of kernels that `weights` would store as float16, and
    # `trim` takes out the buffers that are empty by then.
    resolve_gelu(model)
    repeat_biases(model)
    integers.compute(model, grids)
    model.signatureDefs = [
        schema.SignatureDefT(
            inputs=_named(graph, lowered.inputs, graph.inputs),
            outputs=_named(graph, lowered.outputs, graph.outputs),
            signatureKey=SIGNATURE,
        )
    ]
    weights.store(model, precision, grids, mixed=mixed)
    trim(model)
    return packed(model)


def repeat_biases(model: schema.ModelT) -> None:
    """Gives transposed convolutions a bias for each channel.

    TFLite's converter takes a number that is added behind one for its bias, as it is; its kernel
    takes no bias of one number.
    """
    (graph,) = model.subgraphs
    kind = schema.BuiltinOperator.TRANSPOSE_CONV
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode != kind:
            continue
        if len(operator.inputs) < 4 or operator.inputs[3] < 0:
            continue
        bias = graph.tensors[operator.inputs[3]]
        channels = int(graph.tensors[operator.inputs[1]].shape[0])
        number = weights.float32_constant(model, bias)
        if number is None or number.size == channels:
            continue
        data = np.full(channels, number.ravel()[0], np.float32).view(np.uint8)
        model.buffers.append(schema.BufferT(data=data))
        buffer = len(model.buffers) - 1
        repeated = schema.TensorT(
            shape=np.array([channels], np.int32),
            type=bias.type,
            buffer=buffer,
            name=bias.name + b"/repeated",
            hasRank=True,
        )
        graph.tensors.append(repeated)
        operator.inputs = np.array([*operator.inputs[:3], len(graph.tensors) - 1], np.int32)


def resolve_gelu(model: schema.ModelT) -> None:
    """Puts TFLite's GELU in the place of the custom operation that stands for it.

    Raises UnsupportedOperation for any other custom operation.
    """
    gelu, custom = schema.BuiltinOperator.GELU, schema.BuiltinOperator.CUSTOM
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode != custom:
            continue
        name = (code.customCode or b"").decode()
        if name != GELU_CARRIER:
            raise UnsupportedOperation(
                f"TFLite has no operation {name}", do="write it with other operations"
            )
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
        # The generated Pack of a model packs its buffers itself: their class is what can be
        # changed.
        buffer.__class__ = Buffer
    for operator in (op for graph in model.subgraphs for op in graph.operators):
        if operator.builtinOptions is not None and not isinstance(operator.builtinOptions, Once):
            operator.builtinOptions = Once(operator.builtinOptions)
    builder = SharingBuilder(1024)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())
