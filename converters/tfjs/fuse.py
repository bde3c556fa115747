"""Convolution, bias and activation as one node, for tfjs's fused kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from converters.lowering.tf import GraphDef, NodeDef

FUSED = {
    "Conv2D": "_FusedConv2D",
    "DepthwiseConv2dNative": "FusedDepthwiseConv2dNative",
    "MatMul": "_FusedMatMul",
}
ACTIVATIONS = ("Relu", "Relu6", "Elu", "Sigmoid")
# TF.js's mapping of the depthwise node does not read `leakyrelu_alpha`: the slope would be 0.
ACTIVATIONS_OF = {"DepthwiseConv2dNative": ACTIVATIONS}


def fused(graph: GraphDef) -> GraphDef:
    """The graph with each convolution, its BiasAdd and its activation as one node.

    Before: Conv2D(x, w) -> BiasAdd(b) -> Relu
    After:  _FusedConv2D(x, w, b), fused_ops = [BiasAdd, Relu]

    A result that anything else reads stays: the chain ends there.
    """
    nodes = {node.name: node for node in graph.node}
    # The network's outputs count, too: each is read by an Identity of its own.
    readers = Counter(name for node in graph.node for name in node.input)
    # By the first input, where a BiasAdd and an activation have the map. Of several readers this
    # holds the last: `readers` tells.
    only = {node.input[0]: node for node in graph.node if node.input}
    replaced: dict[str, NodeDef] = {}
    dropped: set[str] = set()
    for node in graph.node:
        if node.op not in FUSED or (bias := _follower(node, only, readers, ("BiasAdd",))) is None:
            continue
        activation = _follower(
            bias, only, readers, ACTIVATIONS_OF.get(node.op, (*ACTIVATIONS, "LeakyRelu"))
        )
        last = bias if activation is None else activation
        replaced[last.name] = _joined(node, bias, activation)
        dropped |= {node.name, bias.name, last.name}
    result = GraphDef(versions=graph.versions)
    for name, node in nodes.items():
        if name in replaced:
            result.node.append(replaced[name])
        elif name not in dropped:
            result.node.append(node)
    return result


def _follower(
    node: NodeDef, only: Mapping[str, NodeDef], readers: Counter[str], ops: tuple[str, ...]
) -> NodeDef | None:
    """The node of one of these kinds that alone reads a result."""
    reader = only.get(node.name)
    if reader is None or readers[node.name] != 1 or reader.op not in ops:
        return None
    return reader


def _joined(conv: NodeDef, bias: NodeDef, activation: NodeDef | None) -> NodeDef:
    last = bias if activation is None else activation
    # The last one's name is the one that is read.
    node = NodeDef(name=last.name, op=FUSED[conv.op])
    node.input.extend([*conv.input, bias.input[1]])
    for key, value in conv.attr.items():
        node.attr[key].CopyFrom(value)
    # TF.js goes by the place: the bias first, the activation second.
    names = [b"BiasAdd"] if activation is None else [b"BiasAdd", activation.op.encode()]
    node.attr["fused_ops"].list.s.extend(names)
    node.attr["num_args"].i = 1
    if activation is not None and activation.op == "LeakyRelu":
        node.attr["leakyrelu_alpha"].f = activation.attr["alpha"].f
    return node
