"""A SavedModel as one frozen graph, its tensors named as in the spec.

onnx2tf, which writes it, keeps names but not layouts, so that each tensor's order of axes is
read from its shape, and only if that leaves no doubt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from converters.api import Port
from converters.lowering.lower import Lowered
from converters.lowering.tf import Graph, GraphDef, Tensor, constant_value, make_tensor_proto
from model_defs.errors import ConversionFailed
from model_defs.spec import TensorSpec


def frozen(folder: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Lowered:
    """The graph of a SavedModel's serving signature, variables as constants."""
    from tensorflow.python.eager import context
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )
    from tensorflow.python.saved_model.load import load

    with context.eager_mode():
        model = load(str(folder))  # owns the variables that its signatures only refer to
        signature = model.signatures["serving_default"]
        function = convert_variables_to_constants_v2(signature)
    given = {tensor.name.split(":")[0]: tensor for tensor in function.inputs}
    results = _results(function.outputs, signature.structured_outputs, outputs)
    graph = function.graph.as_graph_def()
    _name_results(graph, results)
    _name_depthwise(graph, function.graph)
    return Lowered(
        _needed(graph, [*given, *results]),
        ports(inputs, _declared(given)),
        ports(outputs, _declared(results)),
    )


def _results(
    tensors: Sequence[Tensor], keys: Iterable[str], specs: Sequence[TensorSpec]
) -> dict[str, Tensor]:
    """The results by name: onnx2tf calls the n-th output of the ONNX file output_n."""
    flat = sorted(keys)
    if set(flat) != {f"output_{i}" for i in range(len(specs))}:
        raise ConversionFailed(f"onnx2tf names outputs {flat}")
    by_key = dict(zip(flat, tensors, strict=True))
    return {spec.name: by_key[f"output_{i}"] for i, spec in enumerate(specs)}


def _declared(tensors: dict[str, Tensor]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {
        name: (tuple(int(n) for n in tensor.shape), tensor.dtype.name)
        for name, tensor in tensors.items()
    }


def _name_results(graph: GraphDef, results: dict[str, Tensor]) -> None:
    """Adds an Identity for each result, with the name of its output."""
    taken = {node.name for node in graph.node}
    for name, tensor in results.items():
        if name in taken:
            raise ConversionFailed(f"onnx2tf has a node named like the output '{name}'")
        identity = graph.node.add(name=name, op="Identity")
        identity.input.append(tensor.name.removesuffix(":0"))
        identity.attr["T"].type = tensor.dtype.as_datatype_enum


def _name_depthwise(graph: GraphDef, typed: Graph) -> None:
    """Convolutions with a group per channel as depthwise ones, which is all that TF.js has."""
    for node in [node for node in graph.node if node.op == "Conv2D"]:
        x, weight = typed.get_operation_by_name(node.name).inputs
        height, width, depth, _ = (int(n) for n in weight.shape)
        channels = int(x.shape[3])
        if depth != 1 or channels == 1:
            continue
        filters = np.asarray(constant_value(weight)).reshape(height, width, channels, -1)
        name = f"{node.name}/depthwise_filter"
        stored = graph.node.add(name=name, op="Const")
        stored.attr["dtype"].CopyFrom(node.attr["T"])
        stored.attr["value"].tensor.CopyFrom(make_tensor_proto(filters))
        node.op, node.input[1] = "DepthwiseConv2dNative", name
        del node.attr["use_cudnn_on_gpu"]


def _needed(graph: GraphDef, names: Sequence[str]) -> GraphDef:
    """What the named nodes are computed from, without control dependencies."""
    nodes = {node.name: node for node in graph.node}
    wanted, kept = list(names), set()
    while wanted:
        name = wanted.pop()
        if name in kept:
            continue
        kept.add(name)
        data = [i for i in nodes[name].input if not i.startswith("^")]
        del nodes[name].input[:]
        nodes[name].input.extend(data)
        wanted += [i.split(":")[0] for i in data]
    result = GraphDef(versions=graph.versions)
    result.node.extend(node for node in graph.node if node.name in kept)
    return result


def ports(
    specs: Sequence[TensorSpec], stored: Mapping[str, tuple[tuple[int, ...], str]]
) -> tuple[Port, ...]:
    """Ports for tensors whose names, shapes and types a file declares.

    Raises ConversionFailed for a missing name, or for a shape that fits no layout or several.
    """
    if sorted(stored) != sorted(spec.name for spec in specs):
        raise ConversionFailed(f"onnx2tf names tensors {sorted(stored)}")
    return tuple(_port(spec, *stored[spec.name]) for spec in specs)


def _port(spec: TensorSpec, shape: tuple[int, ...], kind: str) -> Port:
    layouts = {Port.of(spec, channels_last=last) for last in (True, False)}
    fitting = [port for port in layouts if port.shape == shape]
    if len(fitting) != 1:
        raise ConversionFailed(
            f"onnx2tf stores '{spec.name}' as {shape}: "
            + ("its layout cannot be told" if fitting else f"no layout of {spec.shape}"),
            do="use sizes that differ from the number of channels",
        )
    return replace(fitting[0], dtype=kind)
