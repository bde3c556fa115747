"""A copy of a .tflite file whose tensors have the names of a model's, for tools that give none."""

from __future__ import annotations

from pathlib import Path

from model_defs import zoo

SIGNATURE = "serving_default"


def named(source: Path, model: str, path: Path) -> None:
    """Writes `path`: the same file with a signature of its inputs and outputs in their order."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    spec = zoo.load(model)
    read = schema.ModelT.InitFromPackedBuf(source.read_bytes())
    graph = read.subgraphs[0]
    sides = [
        [
            schema.TensorMapT(name=tensor.name, tensorIndex=int(index))
            for tensor, index in zip(tensors, indices, strict=True)
        ]
        for tensors, indices in ((spec.inputs, graph.inputs), (spec.outputs, graph.outputs))
    ]
    inputs, outputs = sides
    read.signatureDefs = [
        schema.SignatureDefT(inputs=inputs, outputs=outputs, signatureKey=SIGNATURE)
    ]
    builder = flatbuffers.Builder(1024)
    builder.Finish(read.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(builder.Output())
