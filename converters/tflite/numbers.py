"""The numbers of a .tflite file's constants."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.api import Artifact
from converters.numbers import StoredConstant
from converters.tflite.contents import constant_tensors, shape_of
from model_defs.errors import BadArtifact

FLOATS = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.FLOAT16: np.float16}
CODES = {
    schema.TensorType.INT4: 4,
    schema.TensorType.INT8: 8,
    schema.TensorType.INT32: 32,
}
"""The bits of the types that stand for numbers where they have a scale."""


def read(artifact: Artifact) -> Iterator[StoredConstant]:
    """Each buffer of floats, or of codes with a scale, once; of all signatures."""
    model = schema.Model.GetRootAs(artifact.path.read_bytes())
    for layer, index, tensor, data in constant_tensors(model):
        array = _numbers(tensor, data)
        if array is not None:
            own = (tensor.Name() or b"%d" % index).decode()
            yield StoredConstant(f"{layer or ''}/{own}".strip("/"), array)


def _numbers(tensor: Any, data: np.ndarray) -> np.ndarray | None:
    shape = shape_of(tensor)
    count = math.prod(shape)
    if (kind := FLOATS.get(tensor.Type())) is not None:
        return _of_shape(data.view(kind), count, tensor).astype(np.float32).reshape(shape)
    quantized, bits = tensor.Quantization(), CODES.get(tensor.Type())
    if bits is None or quantized is None or not quantized.ScaleLength():
        return None
    codes = _of_shape(_codes(data, bits), count, tensor).reshape(shape).astype(np.float32)
    scales = quantized.ScaleAsNumpy()
    if scales.size > 1:
        along = [1] * len(shape)
        if scales.size != shape[quantized.QuantizedDimension()]:
            raise BadArtifact(f"{scales.size} scales for a constant of shape {shape}")
        along[quantized.QuantizedDimension()] = scales.size
        scales = scales.reshape(along)
    return codes * scales


def _codes(data: np.ndarray, bits: int) -> np.ndarray:
    """Signed integers; of 4 bits the first is the low half of a byte."""
    if bits != 4:
        return data.view(np.int8 if bits == 8 else np.int32)
    halves = np.stack([data & 0xF, data >> 4], -1).reshape(-1).astype(np.int8)
    return np.where(halves > 7, halves - 16, halves).astype(np.int8)


def _of_shape(numbers: np.ndarray, count: int, tensor: Any) -> np.ndarray:
    if numbers.size < count:
        name = (tensor.Name() or b"").decode()
        raise BadArtifact(f"the constant '{name}' has {numbers.size} numbers, not {count}")
    return numbers[:count]
