"""Files of one model at several sizes as one: a graph and a signature for each, buffers shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ai_edge_litert import schema_py_generated as schema

from converters.api import Artifact, Entry
from converters.tflite.store import packed
from model_defs.errors import CannotWrite


def signature_of(size: str) -> str:
    """The key of a size's signature."""
    return f"size_{size}"


def merge(artifact: Artifact, further: Mapping[str, Artifact]) -> Artifact:
    """The first file with a graph for each further size, each behind a signature of its own.

    The first graph is still the one that a file opens at, and its signature is what it was.
    """
    model = schema.ModelT.InitFromPackedBuf(artifact.path.read_bytes())
    shared = _Shared(model)
    entries = []
    for size, other in further.items():
        shared.add(schema.ModelT.InitFromPackedBuf(other.path.read_bytes()), signature_of(size))
        entries.append(Entry(size, signature_of(size), other.inputs, other.outputs))
    try:
        artifact.path.write_bytes(packed(model))
    except OSError as error:
        raise CannotWrite(f"cannot write {artifact.path}: {error.strerror}") from error
    return replace(artifact, entries=tuple(entries))


class _Shared:
    """A model that takes in the graphs of others: what is equal is in it once."""

    def __init__(self, model: schema.ModelT) -> None:
        self.model = model
        self._buffers: dict[bytes, int] = {}
        for index, buffer in enumerate(model.buffers):
            if index:  # the first is that of all computed tensors
                self._buffers.setdefault(_bytes(buffer), index)
        self._codes = {_code(code): i for i, code in enumerate(model.operatorCodes)}

    def add(self, other: schema.ModelT, key: str) -> None:
        """The one graph of another model, behind a signature of this key."""
        (graph,), (signature,) = other.subgraphs, other.signatureDefs
        buffers = [0, *map(self._buffer, other.buffers[1:])]
        codes = [self._operator(code) for code in other.operatorCodes]
        for tensor in graph.tensors:
            tensor.buffer = buffers[tensor.buffer]
        for operator in graph.operators:
            operator.opcodeIndex = codes[operator.opcodeIndex]
        signature.signatureKey, signature.subgraphIndex = key, len(self.model.subgraphs)
        self.model.subgraphs.append(graph)
        self.model.signatureDefs.append(signature)

    def _buffer(self, buffer: schema.BufferT) -> int:
        place = self._buffers.setdefault(_bytes(buffer), len(self.model.buffers))
        if place == len(self.model.buffers):
            self.model.buffers.append(buffer)
        return place

    def _operator(self, code: schema.OperatorCodeT) -> int:
        place = self._codes.setdefault(_code(code), len(self.model.operatorCodes))
        if place == len(self.model.operatorCodes):
            self.model.operatorCodes.append(code)
        return place


def _bytes(buffer: schema.BufferT) -> bytes:
    return b"" if buffer.data is None else bytes(buffer.data)


def _code(code: schema.OperatorCodeT) -> tuple[object, ...]:
    """What an operation is, its version included."""
    return tuple(vars(code).values())
