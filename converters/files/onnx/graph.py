"""The graph of an ONNX model as plain values: nodes in order, constants, inputs of fixed shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from converters.files.onnx import load
from converters.files.request import FileRequest
from converters.lowering.graph import Node, Shape
from model_defs.errors import BadArtifact, BadSpec, UnsupportedOperation

BATCHES = ("n", "b", "bs", "batch", "batch_size", "batchsize", "none")
"""What the first dimension is called where it is the batch, of which one is taken."""
LARGEST_INPUT = 2**26
"""Numbers of an input."""
DOMAINS = ("", "ai.onnx")
OPSETS = (7, 25)
"""The versions of ONNX's operators that are read."""


@dataclass(frozen=True)
class Fed:
    """An input that is not a constant: its name in the file, its shape, its type."""

    name: str
    shape: Shape
    dtype: str


@dataclass(frozen=True)
class OnnxGraph:
    """An ONNX file. `model` is what it means: float32, fixed shapes, weights inside.

    `notes` say what was decided on the way.
    """

    path: Path
    model: onnx.ModelProto
    opset: int
    nodes: tuple[Node, ...]
    constants: Mapping[str, np.ndarray]
    inputs: tuple[Fed, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_graph(request: FileRequest) -> OnnxGraph:
    """The graph of a file; what is said of inputs fixes those that have dynamic dimensions.

    Raises BadArtifact for what is no sound file, BadSpec for a dimension that nobody fixed.
    """
    path = request.path
    model, notes = load.load(path)
    try:
        said = request.of(tuple(value.name for value in _fed(model.graph)))
        shapes = {name: one.shape for name, one in said.items()}
        return graph_of(model, path, shapes, notes)
    except (ValueError, TypeError, OverflowError, UnicodeDecodeError) as error:
        raise load.bad(path, error) from error


def graph_of(
    model: onnx.ModelProto,
    path: Path = Path("model.onnx"),
    shapes: Mapping[str, Shape] | None = None,
    notes: Sequence[str] = (),
) -> OnnxGraph:
    """The graph of a model that is in memory; see `read_graph`."""
    opset = _opset(model, path)
    proto = model.graph
    constants = {t.name: _array(t) for t in proto.initializer}
    if proto.sparse_initializer:
        raise BadArtifact("sparse initializers are not read", where=str(path), do="store it dense")
    inputs, said = _inputs(proto, shapes or {}, path)
    nodes = []
    for index, node in enumerate(proto.node):
        made = node_of(node, index)
        if made.op == "Constant":
            constants[made.outputs[0]] = _constant(made)
        else:
            nodes.append(made)
    outputs = tuple(v.name for v in proto.output)
    return OnnxGraph(
        path, model, opset, _reached(nodes, outputs), constants, inputs, outputs, (*notes, *said)
    )


def _opset(model: onnx.ModelProto, path: Path) -> int:
    versions = {o.domain or "ai.onnx": o.version for o in model.opset_import}
    found = versions.get("ai.onnx", OPSETS[1])
    if not OPSETS[0] <= found <= OPSETS[1]:
        raise BadArtifact(
            f"ONNX's operators of version {found}, not {OPSETS[0]} to {OPSETS[1]}",
            where=str(path),
            do="export it with an opset of this range; 17 is a good one",
        )
    return int(found)


def _array(tensor: TensorProto) -> np.ndarray:
    array = numpy_helper.to_array(tensor)
    if array.dtype.kind not in "fiub":
        raise BadArtifact(f"constant '{tensor.name}' is of type {array.dtype}, not numbers")
    return array


def node_of(node: onnx.NodeProto, index: int) -> Node:
    """A node with its attributes as Python's values; graphs inside it stay protobufs."""
    op = node.op_type if node.domain in DOMAINS else f"{node.domain}.{node.op_type}"
    attributes = {a.name: _attribute(a) for a in node.attribute}
    name = node.name or f"{node.op_type}_{index}"
    return Node(op, name, tuple(node.input), tuple(node.output), attributes)


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, TensorProto):
        return _array(value)
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return tuple(value)
    return value


CONSTANTS = {
    "value": None,
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def _constant(node: Node) -> np.ndarray:
    for name, value in node.attributes.items():
        if name in CONSTANTS:
            return np.asarray(value, CONSTANTS[name])
    raise node.refusal(f"{', '.join(node.attributes)} is not read", do="store it as numbers")


def _reached(nodes: Sequence[Node], outputs: Sequence[str]) -> tuple[Node, ...]:
    """The nodes that an output depends on."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.outputs):
            kept.append(node)
            wanted |= {*node.inputs, *captured(node)}
    return tuple(reversed(kept))


def captured(node: Node) -> set[str]:
    """What the graphs inside a node may take from around it."""
    return {
        name
        for value in node.attributes.values()
        if isinstance(value, onnx.GraphProto)
        for graph in load.graphs(value)
        for name in [*(i for n in graph.node for i in n.input), *(o.name for o in graph.output)]
    }


def _fed(proto: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that are no constants: older files list these, too."""
    constants = {t.name for t in proto.initializer}
    return [value for value in proto.input if value.name not in constants]


def _inputs(
    proto: onnx.GraphProto, shapes: Mapping[str, Shape], path: Path
) -> tuple[tuple[Fed, ...], list[str]]:
    found, notes = [], []
    for value in _fed(proto):
        if not value.type.HasField("tensor_type"):
            raise BadArtifact(f"input '{value.name}' is no tensor", where=str(path))
        fed, note = _input(value, shapes.get(value.name), path)
        found.append(fed)
        notes += note
        _fix(value, fed.shape)
    if notes:
        # What was inferred of other shapes would contradict these.
        del proto.value_info[:]
        for output in proto.output:
            output.type.tensor_type.ClearField("shape")
    return tuple(found), notes


def _input(value: onnx.ValueInfoProto, given: Shape | None, path: Path) -> tuple[Fed, list[str]]:
    kind = value.type.tensor_type
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    if given is not None:
        _check(value, given)
        return Fed(value.name, given, dtype), [f"input '{value.name}' was fixed to {given}"]
    if not kind.HasField("shape"):
        raise _dynamic(value, "has no shape", path)
    notes: list[str] = []
    shape = []
    for axis, size in enumerate(kind.shape.dim):
        if size.HasField("dim_value") and size.dim_value > 0:
            shape.append(int(size.dim_value))
            continue
        name = size.dim_param
        named = name.lower() in BATCHES or "batch" in name.lower()
        if axis == 0 and (named or len(kind.shape.dim) == 4):
            notes.append(
                f"dimension {name or '0'} of input '{value.name}' is the batch: taken as 1"
            )
            shape.append(1)
            continue
        raise _dynamic(value, f"has a dimension '{name or axis}' of no fixed size", path)
    fixed = tuple(shape)
    if int(np.prod(fixed, dtype=object)) > LARGEST_INPUT:
        raise BadArtifact(f"input '{value.name}' of shape {fixed} is too large", where=str(path))
    return Fed(value.name, fixed, dtype), notes


def _dynamic(value: onnx.ValueInfoProto, what: str, path: Path) -> BadSpec:
    sizes = [
        str(d.dim_value) if d.dim_value > 0 else "1" if axis == 0 else "224"
        for axis, d in enumerate(value.type.tensor_type.shape.dim)
    ]
    return BadSpec(
        f"input '{value.name}' {what}",
        where=str(path),
        do=f"say its shape: {path.name}:{value.name}={','.join(sizes) or '1,3,224,224'} "
        "with your sizes, or export with fixed shapes",
    )


def _check(value: onnx.ValueInfoProto, given: Shape) -> None:
    dims = value.type.tensor_type.shape.dim
    fits = len(dims) == len(given) and all(
        d.dim_value in (0, n) for d, n in zip(dims, given, strict=False)
    )
    if value.type.tensor_type.HasField("shape") and not fits:
        has = [d.dim_value or d.dim_param or "?" for d in dims]
        raise BadSpec(f"input '{value.name}' has shape {has}, which {given} does not fit")
    if min(given, default=1) < 1 or int(np.prod(given, dtype=object)) > LARGEST_INPUT:
        raise BadSpec(f"input '{value.name}' cannot be of shape {given}")


def _fix(value: onnx.ValueInfoProto, shape: Shape) -> None:
    dims = value.type.tensor_type.shape.dim
    del dims[:]
    for size in shape:
        dims.add().dim_value = size


def inlined(node: Node, taken: bool, prefix: str) -> tuple[list[Node], dict[str, np.ndarray]]:
    """The nodes of one branch of an If whose condition is known, and the constants in it.

    Values inside get a prefix, for a name may stand in both branches and outside.
    """
    branch: onnx.GraphProto = node.attributes["then_branch" if taken else "else_branch"]
    constants = {f"{prefix}{t.name}": _array(t) for t in branch.initializer}
    made = [t.name for t in branch.initializer]
    made += [name for inner in branch.node for name in inner.output if name]
    names = {name: f"{prefix}{name}" for name in made}
    nodes = []
    for index, proto in enumerate(branch.node):
        if any(isinstance(_attribute(a), onnx.GraphProto) for a in proto.attribute):
            raise UnsupportedOperation(f"{node.op}: a graph inside a branch", where=node.name)
        inner = node_of(proto, index)
        inner = replace(
            inner,
            name=f"{node.name}/{inner.name}",
            inputs=tuple(names.get(n, n) for n in inner.inputs),
            outputs=tuple(names.get(n, n) for n in inner.outputs),
        )
        if inner.op == "Constant":
            constants[inner.outputs[0]] = _constant(inner)
        else:
            nodes.append(inner)
    for outer, result in zip(node.outputs, branch.output, strict=True):
        inside = names.get(result.name, result.name)
        nodes.append(Node("Identity", f"{node.name}/{outer}", (inside,), (outer,)))
    return nodes, constants
