"""Emits the TensorFlow graph, one ONNX operation after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from converters.api import Port
from converters.lowering import tf
from converters.lowering.call import Call, Target
from converters.lowering.fold import folded
from converters.lowering.graph import Graph, Node, Shape
from converters.lowering.scope import SCOPE, scope_of
from converters.lowering.table import INSTEAD, OPERATIONS, OTHERWISE, OWN
from converters.lowering.value import Arranged, Order, Value, arrange, as_tensor
from model_defs.errors import REPORT, ConversionFailed, MlshipError, said
from model_defs.spec import TensorSpec


@dataclass(frozen=True)
class Lowered:
    """A frozen graph: a Placeholder per input and an Identity per output, by their names.

    `origins` says of its operations which ONNX value they compute, and in what order of axes.
    """

    graph: tf.GraphDef
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    origins: Mapping[str, tuple[str, Order]] = field(default_factory=dict)


def lower(
    graph: Graph, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], target: Target
) -> Lowered:
    """The graph in TensorFlow's operations, 4-D inputs and outputs as (N, H, W, C).

    Raises UnsupportedOperation for what cannot be expressed exactly; every result's shape and
    type are checked against those that ONNX infers.
    """
    given = _ports(graph, inputs, graph.inputs)
    wanted = _ports(graph, outputs, graph.outputs)
    values = {name: Value.of(array) for name, array in graph.constants.items()}
    arranged: Arranged = {}
    emitted = tf.Graph()
    with emitted.as_default():
        for port in given:
            placeholder = tf.array_ops.placeholder(port.dtype, port.shape, port.name)
            values[port.name] = Value(placeholder, port.axes)
        with emitted.name_scope(SCOPE):
            for node in graph.nodes:
                with emitted.name_scope(scope_of(node.name, node.op)):
                    values |= _lowered(node, values, graph, target, arranged)
        for port in wanted:
            result = as_tensor(arrange(values[port.name], port.axes, arranged))
            tf.gen_array_ops.identity(result, name=port.name)
    return Lowered(emitted.as_graph_def(), given, wanted, _origins(values))


def _origins(values: Mapping[str, Value]) -> dict[str, tuple[str, Order]]:
    """The first of the ONNX values that share a tensor, by the tensor's operation."""
    found: dict[str, tuple[str, Order]] = {}
    for name, value in values.items():
        if not isinstance(value.tensor, np.ndarray) and value.tensor.name.endswith(":0"):
            found.setdefault(value.tensor.op.name, (name, value.order))
    return found


def _ports(graph: Graph, specs: Sequence[TensorSpec], names: Sequence[str]) -> tuple[Port, ...]:
    """Ports for the specs' tensors, which have to be those of the graph."""
    if {spec.name for spec in specs} != set(names):
        raise ConversionFailed(f"the ONNX file has {', '.join(names)}, not what the spec names")
    ports = []
    for spec in specs:
        if graph.shapes.get(spec.name) != spec.shape:
            raise ConversionFailed(
                f"'{spec.name}' is {graph.shapes.get(spec.name)} in the ONNX file, not {spec.shape}"
            )
        kind = STORED_TYPES.get(graph.types[spec.name], "float32")
        ports.append(replace(Port.of(spec, channels_last=True), dtype=kind))
    return tuple(ports)


def _lowered(
    node: Node, values: Mapping[str, Value], graph: Graph, target: Target, arranged: Arranged
) -> dict[str, Value]:
    """The values of a node's outputs."""
    inputs = tuple(values[name] if name else None for name in node.inputs)
    if inputs and all(value is None or value.is_constant for value in inputs):
        known = folded(node, inputs)
        if known is not None:
            return known
    emit = OPERATIONS.get(node.op) or OWN.get(node.op)
    if emit is None:
        do = INSTEAD.get(node.op, OTHERWISE)
        raise node.refusal("not among the operations that we lower", do=do)
    if any(name and name not in graph.shapes for name in node.outputs):
        raise node.refusal("its result has no fixed shape", do="export with fixed sizes")
    shapes = tuple(graph.shapes[name] if name else () for name in node.outputs)
    call = Call(node, inputs, shapes, target, arranged)
    try:
        result = emit(call)
    except MlshipError:
        raise
    except (ValueError, TypeError, tf.OpError) as error:
        raise node.refusal(f"TensorFlow refuses it: {error}") from error
    except Exception as error:  # ours: onnx2tf may still know it
        raise node.refusal(f"lowering it failed: {said(error)}", do=REPORT) from error
    results = result if isinstance(result, tuple) else (result,)
    made = {n: value for n, value in zip(node.outputs, results, strict=True) if n}
    for name, value in made.items():
        _check(node, value, graph.shapes[name], graph.types[name])
    return made


def _check(node: Node, value: Value, shape: Shape, kind: str) -> None:
    """Lowering must not change what ONNX says a result is."""
    held = value.tensor.dtype.name if not value.is_constant else str(value.tensor.dtype)
    if value.shape != shape:
        raise node.refusal(f"lowered to shape {value.shape}, where ONNX infers {shape}")
    if STORED_TYPES.get(held, held) != STORED_TYPES.get(kind, kind):
        raise node.refusal(f"lowered to {held}, where ONNX infers {kind}")


STORED_TYPES = {"int64": "int32", "int32": "int32", "bool": "bool"}
"""How types other than float32 are stored."""
