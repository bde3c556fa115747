"""A copy of a .tflite file whose tensors have the names of a model's, for tools that give none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_defs import zoo

SIGNATURE = "serving_default"


def named(source: Path, model: str, path: Path) -> None:
    """Writes `path`: the same file with a signature of its inputs and outputs.

    Inputs that the file names as the model does keep their names, others go by their order.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    spec = zoo.load(model)
    read = schema.ModelT.InitFromPackedBuf(source.read_bytes())
    graph = read.subgraphs[0]
    own = [graph.tensors[i].name.decode() for i in graph.inputs]
    for signature in read.signatureDefs or []:
        known = {m.tensorIndex: m.name.decode() for m in signature.inputs}
        own = [known.get(int(i), name) for i, name in zip(graph.inputs, own, strict=True)]
    wanted = [tensor.name for tensor in spec.inputs]
    inputs = _maps(own if sorted(own) == sorted(wanted) else wanted, graph.inputs)
    outputs = _maps([tensor.name for tensor in spec.outputs], graph.outputs)
    read.signatureDefs = [
        schema.SignatureDefT(inputs=inputs, outputs=outputs, signatureKey=SIGNATURE)
    ]
    builder = flatbuffers.Builder(1024)
    builder.Finish(read.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(builder.Output())


def _maps(names: Sequence[str], indices: Sequence[int]) -> list[Any]:
    from ai_edge_litert import schema_py_generated as schema

    pairs = zip(names, indices, strict=True)
    return [schema.TensorMapT(name=name, tensorIndex=int(index)) for name, index in pairs]
