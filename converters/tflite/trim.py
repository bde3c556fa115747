"""A .tflite file without the bytes that no runtime reads."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.tflite.names import short

ENCODED = tuple(getattr(schema.TensorType, name) for name in ("FLOAT16", "INT8", "INT4"))
"""Types of constants that no quantiser takes further."""


class SharingBuilder(flatbuffers.Builder):
    """Writes what is equal once, and what holds it points to the same place.

    Most are shapes, names, the zero points of scales, 8 bytes a channel, and the options of
    operations, such as strides.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._known: dict[tuple[str, Hashable], int] = {}

    def once(self, options: Any) -> int:
        """Where the options of an operation are, if they are numbers only."""
        # By their type as well: two operations' options may hold the same numbers, and mean others.
        key = type(options).__name__, tuple(vars(options).values())
        if key not in self._known:
            self._known[key] = options.Pack(self)
        return self._known[key]

    def CreateString(self, s: Any, *how: str) -> int:  # noqa: N802
        key = "string", s if isinstance(s, bytes) else s.encode()
        if key not in self._known:
            self._known[key] = super().CreateString(s, *how)
        return self._known[key]

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
        key = x.dtype.str, x.tobytes()
        if key not in self._known:
            self._known[key] = super().CreateNumpyVector(x)
        return self._known[key]


class Once:
    """The options of an operation, for a SharingBuilder."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def Pack(self, builder: SharingBuilder) -> int:  # noqa: N802
        is_plain = all(isinstance(value, (int, float)) for value in vars(self.options).values())
        return builder.once(self.options) if is_plain else int(self.options.Pack(builder))


def trim(model: schema.ModelT) -> None:
    """Takes out empty scales and empty buffers but the first, and shortens names.

    Constants are numbered: quantisers, of which one may be asked for more, want a name for each.
    Beside constants that are encoded already they have no names.
    A result that stands for several fused operations keeps the name of the last one of each layer.
    What has a shape needs no word that it has one.
    """
    constants = [t for graph in model.subgraphs for t in graph.tensors if _is_constant(model, t)]
    is_encoded = any(tensor.type in ENCODED for tensor in constants)
    for graph in model.subgraphs:
        for number, tensor in enumerate(graph.tensors):
            if _is_constant(model, tensor):
                tensor.name = None if is_encoded else b"%d" % number
            elif tensor.name is not None:
                tensor.name = short(last_of_each_layer(tensor.name).decode()).encode()
            tensor.hasRank &= tensor.shape is None or not len(tensor.shape)
            if tensor.quantization is not None and _is_empty(tensor.quantization):
                tensor.quantization = None
    _drop_empty_buffers(model)


def last_of_each_layer(name: bytes) -> bytes:
    """`a/Relu;b/BiasAdd;b/Conv2D;b/Const` is `a/Relu;b/BiasAdd`: the latest stands first."""
    parts: dict[bytes, bytes] = {}
    for part in name.split(b";"):
        parts.setdefault(part.rpartition(b"/")[0], part)
    return b";".join(parts.values())


def _is_empty(scales: schema.QuantizationParametersT) -> bool:
    return all(field is None for field in (scales.scale, scales.min, scales.max, scales.details))


def _is_constant(model: schema.ModelT, tensor: schema.TensorT) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _drop_empty_buffers(model: schema.ModelT) -> None:
    """The first buffer, which the format wants to be empty, is that of all computed tensors."""
    full = [i for i, b in enumerate(model.buffers) if i and b.data is not None and len(b.data)]
    place = {old: new for new, old in enumerate(full, 1)}
    model.buffers = [model.buffers[0], *(model.buffers[i] for i in full)]
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = place.get(tensor.buffer, 0)  # 0: it is computed, or has no numbers
    for entry in model.metadata or []:
        entry.buffer = place.get(entry.buffer, 0)
