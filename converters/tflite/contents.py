"""What the bytes of a .tflite file are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converters.contents import Item, tensor_item
from converters.malformed import Room
from converters.tflite.names import layer_of

POINTER = 4
"""Bytes of an offset, and of a number of a tensor, in a flatbuffer."""
SHARED = 4
"""How often, on average, a file may hold what it has in one place: writers share equal names."""


def read(path: Path) -> Iterator[Item]:
    """The buffers of constant tensors, named after the operation that reads them.

    Constants have numbers for names, or none, which says nothing.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes())
    kinds = {value: name.lower() for name, value in vars(schema.TensorType).items()}
    for entry in (model.Metadata(i) for i in range(model.MetadataLength())):
        count = model.Buffers(entry.Buffer()).DataLength()
        yield Item(entry.Name().decode(), "metadata", count)
    for layer, index, tensor, data in constant_tensors(model):
        shape = shape_of(tensor)
        own = (tensor.Name() or b"%d" % index).decode().split(";")[0].rpartition("/")[2]
        name = own if layer is None else f"{layer}/{own}"
        yield tensor_item(name, data, kinds[tensor.Type()], shape)


def constant_tensors(model: Any) -> Iterator[tuple[str | None, int, Any, Any]]:
    """Each buffer of numbers once: the layer that reads it, a tensor of it by its index, its bytes.

    None is read by no operation.
    """
    seen = set()
    room = Room(SHARED * len(model._tab.Bytes))
    for graph in (model.Subgraphs(i) for i in range(model.SubgraphsLength())):
        readers = _readers(graph, room)
        for index in range(graph.TensorsLength()):
            tensor = graph.Tensors(index)
            buffer = model.Buffers(tensor.Buffer())
            if tensor.Buffer() in seen or not buffer.DataLength():
                continue
            room.take(len(tensor.Name() or b"") + buffer.DataLength())
            seen.add(tensor.Buffer())
            yield readers.get(index), index, tensor, buffer.DataAsNumpy()


def shape_of(tensor: Any) -> tuple[int, ...]:
    """The shape of a constant; ValueError for one that no constant has."""
    shape = tuple(int(n) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    if min(shape, default=0) < 0:
        raise ValueError(f"a constant of shape {shape}")
    return shape


def _readers(graph: Any, room: Room) -> dict[int, str]:
    """Tensor -> the layer whose operation reads it first; through a DEQUANTIZE, the next one."""
    names: dict[int, str] = {}
    room.take(POINTER * (graph.OperatorsLength() + graph.TensorsLength()))
    for operator in reversed([graph.Operators(i) for i in range(graph.OperatorsLength())]):
        output = int(operator.Outputs(0))
        name = graph.Tensors(output).Name() or b""
        room.take(len(name) + POINTER * operator.InputsLength())
        layer = layer_of(name.decode())
        if operator.InputsLength() == 1 and output in names:
            layer = names[output]
        if operator.InputsLength():
            names |= {int(i): layer for i in operator.InputsAsNumpy() if i >= 0}
    return names
