"""An ONNX file as plain values: nodes in order, constants, shapes and types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper, shape_inference

from model_defs.errors import BadArtifact, UnsupportedOperation

Shape = tuple[int, ...]

SHAPE_ELEMENTS = 1024
"""Constants up to this size may be shapes, axes or sizes, which inference reads."""


@dataclass(frozen=True)
class Node:
    """One operation. An optional input or output that is left out has the name ''."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def read(self, **defaults: Any) -> SimpleNamespace:
        """The attributes, with ONNX's defaults; one that is not listed is refused."""
        for name in self.attributes:
            if name not in defaults:
                raise self.refusal(f"attribute '{name}' is not supported")
        return SimpleNamespace(**{**defaults, **self.attributes})

    def refusal(self, what: str, *, do: str = "") -> UnsupportedOperation:
        """The error for a node that cannot be lowered exactly."""
        where = self.source or f"node '{self.name}'"
        return UnsupportedOperation(f"{self.op}: {what}", where=where, do=do)


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order; `shapes` and `types` hold what ONNX infers of each value."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, np.ndarray]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: Mapping[str, Shape]
    types: Mapping[str, str]


def read_graph(path: Path) -> Graph:
    """The graph of an ONNX file; BadArtifact if it is not one."""
    try:
        return graph_of(onnx.load(path, load_external_data=False), path.parent)
    except (DecodeError, OSError) as error:
        raise BadArtifact(f"cannot read {path.name}: {error}") from error


def graph_of(model: onnx.ModelProto, folder: Path = Path()) -> Graph:
    """The graph of a model whose shapes ONNX can infer, with what lies in files of a folder."""
    proto = model.graph
    constants = _constants(proto.initializer, folder)
    inferred = shape_inference.infer_shapes(_without_weights(model), data_prop=True).graph
    nodes = []
    for index, node in enumerate(proto.node):
        if node.op_type == "Constant" and not node.domain:
            constants[node.output[0]] = _constant_value(node)
        else:
            nodes.append(_node(node, index))
    known = [*inferred.input, *inferred.value_info, *inferred.output]
    return Graph(
        tuple(nodes),
        constants,
        tuple(v.name for v in proto.input if v.name not in constants),
        tuple(v.name for v in proto.output),
        {v.name: s for v in known if (s := _shape(v)) is not None}
        | {name: array.shape for name, array in constants.items()},
        {v.name: _type(v) for v in known}
        | {name: str(array.dtype) for name, array in constants.items()},
    )


def _constants(tensors: Iterable[onnx.TensorProto], folder: Path) -> dict[str, np.ndarray]:
    """The numbers by name; what lies in a file is mapped, and read when it is needed."""
    found, files = {}, dict[str, np.ndarray]()
    for tensor in tensors:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            found[tensor.name] = numpy_helper.to_array(tensor)
            continue
        place = {entry.key: entry.value for entry in tensor.external_data}
        file, offset, length = place["location"], int(place["offset"]), int(place["length"])
        if file not in files:
            files[file] = np.asarray(np.memmap(folder / file, np.uint8, "r"))
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        found[tensor.name] = files[file][offset : offset + length].view(kind).reshape(tensor.dims)
    return found


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with large constants as inputs, for inference needs only small ones' numbers.

    Otherwise each inference would copy all weights, which a protobuf of 2 GB cannot hold.
    """
    bare = onnx.ModelProto()
    bare.opset_import.extend(model.opset_import)
    bare.ir_version = model.ir_version
    graph = model.graph
    bare.graph.node.extend(graph.node)
    bare.graph.input.extend(graph.input)
    bare.graph.output.extend(graph.output)
    bare.graph.value_info.extend(graph.value_info)
    named = {value.name for value in graph.input}
    for tensor in graph.initializer:
        if int(np.prod(tensor.dims)) <= SHAPE_ELEMENTS:
            bare.graph.initializer.append(tensor)
        elif tensor.name not in named:
            bare.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return bare


def _node(node: onnx.NodeProto, index: int) -> Node:
    op = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    attributes = {a.name: _attribute(a) for a in node.attribute}
    source = node.doc_string.strip().splitlines()[-1] if node.doc_string.strip() else ""
    name = node.name or f"{node.op_type}_{index}"
    return Node(op, name, tuple(node.input), tuple(node.output), attributes, source)


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if attribute.type == onnx.AttributeProto.STRINGS:
        return [text.decode() for text in value]
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return value


def _constant_value(node: onnx.NodeProto) -> np.ndarray:
    (attribute,) = node.attribute
    value = _attribute(attribute)
    if attribute.name == "value":
        return value
    if attribute.name in ("value_float", "value_floats"):
        return np.asarray(value, np.float32)
    if attribute.name in ("value_int", "value_ints"):
        return np.asarray(value, np.int64)
    raise UnsupportedOperation(f"Constant: {attribute.name}", where=f"node '{node.name}'")


def _shape(value: onnx.ValueInfoProto) -> Shape | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or any(not d.HasField("dim_value") for d in tensor.shape.dim):
        return None
    return tuple(d.dim_value for d in tensor.shape.dim)


def _type(value: onnx.ValueInfoProto) -> str:
    return str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
