"""Operations on constants alone, computed while converting by ONNX's own reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, helper, numpy_helper

from converters.lowering.graph import Node
from converters.lowering.value import Value

KERNELS = frozenset(
    {"AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "GridSample"}
    | {"GroupNormalization", "InstanceNormalization", "LayerNormalization"}
    | {"LpPool", "MaxPool", "Resize"}
)
"""What runtimes compute with kernels is left to them: of ConvTranspose in groups the reference
makes other numbers, and of GroupNormalization none."""


def folded(node: Node, inputs: Sequence[Value | None]) -> dict[str, Value] | None:
    """The outputs of a node, all of whose inputs are constants; None of those that are KERNELS."""
    if node.op in KERNELS:
        return None
    from onnx.reference import ReferenceEvaluator  # loads every operation's reference: slow

    given = zip(node.inputs, inputs, strict=True)
    feed = {name: value.logical for name, value in given if value is not None}
    results = ReferenceEvaluator(_proto(node)).run(None, feed)
    return {
        name: Value.of(np.asarray(result))
        for name, result in zip(node.outputs, results, strict=True)
        if name
    }


def _proto(node: Node) -> NodeProto:
    attributes = {
        name: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in node.attributes.items()
    }
    return helper.make_node(node.op, node.inputs, node.outputs, node.name, **attributes)
