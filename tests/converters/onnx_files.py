"""Small ONNX files for tests, written node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str]


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, np.ndarray] | None = None,
    inputs: Mapping[str, Shape] | None = None,
    outputs: Sequence[str] = ("y",),
    *,
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A model of these nodes, whose inputs and outputs are of one type."""
    fed = inputs or {"x": (1, 3, 8, 8)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in fed.items()],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(made)
    for value in inferred.graph.output:
        if not value.type.tensor_type.HasField("shape"):  # of an operator that ONNX does not know
            value.type.tensor_type.shape.dim.add().dim_param = "any"
    return inferred


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node of values whose names are separated by spaces; `_` is one that is left out."""
    names = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), name=f"/{op}", **attributes)


def save(folder: Path, made: onnx.ModelProto, name: str = "net.onnx") -> Path:
    path = folder / name
    path.write_bytes(made.SerializeToString())
    return path


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Float32 noise around 0."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def net(height: int | str = 16, width: int | str = 16, batch: int | str = 1) -> onnx.ModelProto:
    """A network of two outputs, as exporters write them: names with dots, colons, capitals."""
    constants = {
        "stem.conv.weight": numbers(8, 3, 3, 3),
        "stem.bn.weight": numbers(8, seed=1),
        "stem.bn.bias": numbers(8, seed=2),
        "stem.bn.running_mean": numbers(8, seed=3),
        "stem.bn.running_var": np.abs(numbers(8, seed=4)) + 0.5,
        "head.weight": numbers(5, 8, seed=5),
        "head.bias": numbers(5, seed=6),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "two": np.array(2, np.float32),
    }
    nodes = [
        helper.make_node("Div", ["pixel.values:0", "two"], ["half"], name="/half"),
        helper.make_node(
            "Conv",
            ["half", "stem.conv.weight"],
            ["c"],
            name="/stem/conv/Conv",
            strides=[2, 2],
            pads=[0, 0, 1, 1],
        ),
        helper.make_node(
            "BatchNormalization",
            ["c", *(f"stem.bn.{n}" for n in ("weight", "bias", "running_mean", "running_var"))],
            ["b"],
            name="/stem/bn",
        ),
        helper.make_node("Relu", ["b"], ["r"], name="/stem/Relu"),
        helper.make_node(
            "Resize",
            ["r", "", "scales"],
            ["Mask"],
            name="/up",
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="/pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="/flatten"),
        helper.make_node("Gemm", ["f", "head.weight", "head.bias"], ["l"], name="/head", transB=1),
        helper.make_node("Softmax", ["l"], ["probs"], name="/softmax", axis=-1),
    ]
    return model(nodes, constants, {"pixel.values:0": (batch, 3, height, width)}, ("Mask", "probs"))
