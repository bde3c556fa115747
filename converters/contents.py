"""What the bytes of an artifact are: each stored tensor by name, and the graph around them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from converters.api import Artifact
from converters.tflite.names import layer_of
from model_defs.errors import BadArtifact

Kind = Literal["weights", "graph", "metadata", "padding"]


@dataclass(frozen=True)
class Item:
    """Bytes of one kind. `digest` is that of a tensor's bytes, by which duplicates are found."""

    name: str
    kind: Kind
    bytes: int
    dtype: str = ""
    shape: tuple[int, ...] = ()
    digest: str = ""


def contents(artifact: Artifact) -> tuple[Item, ...]:
    """Every byte of an artifact, once: the items add up to its size on disk.

    Tensors keep the names that the format gave them. "padding" is what aligns them, "metadata"
    what no runtime computes with, "graph" everything else. Raises BadArtifact for a file that is
    malformed.
    """
    items = list(READERS[artifact.format](artifact.path))
    rest = disk_bytes(artifact.path) - sum(item.bytes for item in items)
    if rest < 0:
        raise BadArtifact(f"{artifact.path.name} declares more weights than it holds")
    return (*items, Item("graph", "graph", rest))


def disk_bytes(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files)


def _tensor(name: str, data: Any, dtype: str, shape: tuple[int, ...]) -> Item:
    raw = np.ascontiguousarray(data).tobytes()
    return Item(name, "weights", len(raw), dtype, shape, hashlib.sha256(raw).hexdigest())


MASKS = ("mask", "indices_mask", "data_mask")
"""Arguments of Core ML's sparse constants that say which numbers are not zero."""


def _coreml(path: Path) -> Iterator[Item]:
    """The blobs of weight.bin, each record once, and what aligns them."""
    from converters import mil
    from converters.mil.package import model_files

    seen: dict[int, Item] = {}
    for function in mil.open_package(path).functions.values():
        for name, argument, constant in _constants(function.block):
            if constant.proto.WhichOneof("value") != "blobFileValue":
                continue
            value = constant.proto.blobFileValue
            file = constant.blobs[value.fileName]
            start, count = file.locate(value.offset, constant.type)
            data = file.bytes[start : start + count]
            dtype = "mask" if argument in MASKS else constant.type.dtype
            item = _tensor(name, data, dtype, constant.type.fixed)
            seen.setdefault(start, item)
    yield from seen.values()
    weights = model_files(path)[1] / "weights" / "weight.bin"
    if weights.is_file():
        stored = sum(item.bytes for item in seen.values())
        yield Item("alignment", "padding", weights.stat().st_size - stored)
    yield Item("Manifest.json", "metadata", (path / "Manifest.json").stat().st_size)


def _constants(block: Any) -> Iterator[tuple[str, str, Any]]:
    """Every constant of a block and its inner blocks, with its operation's and argument's name."""
    for operation in block.operations:
        for name, arguments in operation.arguments.items():
            yield from ((operation.name, name, a) for a in arguments if not isinstance(a, str))
        for inner in operation.blocks:
            yield from _constants(inner)


def _tflite(path: Path) -> Iterator[Item]:
    """The buffers of constant tensors, named after the operation that reads them.

    Constants have numbers for names, or none, which says nothing.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes())
    kinds = {value: name.lower() for name, value in vars(schema.TensorType).items()}
    for entry in (model.Metadata(i) for i in range(model.MetadataLength())):
        count = model.Buffers(entry.Buffer()).DataLength()
        yield Item(entry.Name().decode(), "metadata", count)
    seen = set()
    for graph in (model.Subgraphs(i) for i in range(model.SubgraphsLength())):
        readers = _readers(graph)
        for index in range(graph.TensorsLength()):
            tensor = graph.Tensors(index)
            buffer = model.Buffers(tensor.Buffer())
            if tensor.Buffer() in seen or not buffer.DataLength():
                continue
            seen.add(tensor.Buffer())
            shape = tuple(int(n) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
            own = (tensor.Name() or b"%d" % index).decode().split(";")[0].rpartition("/")[2]
            name = f"{readers[index]}/{own}" if index in readers else own
            yield _tensor(name, buffer.DataAsNumpy(), kinds[tensor.Type()], shape)


def _readers(graph: Any) -> dict[int, str]:
    """Tensor -> the layer whose operation reads it first; through a DEQUANTIZE, the next one."""
    names: dict[int, str] = {}
    for operator in reversed([graph.Operators(i) for i in range(graph.OperatorsLength())]):
        output = int(operator.Outputs(0))
        layer = layer_of((graph.Tensors(output).Name() or b"").decode())
        if operator.InputsLength() == 1 and output in names:
            layer = names[output]
        names |= {int(i): layer for i in operator.InputsAsNumpy() if i >= 0}
    return names


def _tfjs(path: Path) -> Iterator[Item]:
    """The entries of the weights manifest, in the order of the shards."""
    model = json.loads((path / "model.json").read_text(encoding="utf-8"))
    for group in model["weightsManifest"]:
        shards = b"".join((path / shard).read_bytes() for shard in group["paths"])
        offset = 0
        for entry in group["weights"]:
            dtype = entry.get("quantization", entry)["dtype"]
            shape = tuple(int(n) for n in entry["shape"])
            count = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            data = np.frombuffer(shards, np.uint8, count, offset)
            offset += count
            yield _tensor(entry["name"], data, dtype, shape)


READERS = {"coreml": _coreml, "tflite": _tflite, "tfjs": _tfjs}
