"""The whole of a captured graph as an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import fx

from converters.graph.captured import CapturedGraph
from converters.graph.rules import FOR_ONNX
from converters.graph.sources import operation_of, packet_of, user_line, working_on
from converters.graph.writing.emit import TYPES, Emission, Sheet, shape_of
from converters.graph.writing.table import WRITERS
from model_defs.errors import UnsupportedOperation
from model_defs.spec import TensorSpec

OPSET = 21
IR_VERSION = 10


def onnx_model(
    captured: CapturedGraph,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    weights: Path | None = None,
) -> onnx.ModelProto:
    """The graph as ONNX; inputs and outputs are named as in the spec, nodes by their modules.

    Large constants go to the file `weights`, which is to lie beside the model's, where one is
    named: a protobuf would hold them three times over, and not more than 2 GB. Raises
    UnsupportedOperation with the user's line for an operation that is not in the table.
    """
    captured = captured.decomposed(FOR_ONNX)
    sheet = Sheet(names={spec.name for spec in (*inputs, *outputs)})
    ports = []
    for node, spec in zip(captured.inputs, inputs, strict=True):
        sheet.values[node] = spec.name
        ports.append(_port(spec.name, node))
    for node in captured.graph.nodes:
        if node.op == "get_attr":
            _store(captured, node, sheet)
        elif node.op == "call_function":
            with working_on(node):
                sheet.values[node] = _written(node, sheet)
    results: list[onnx.ValueInfoProto] = []
    for node, spec in zip(captured.outputs, outputs, strict=True):
        _give_out(sheet, sheet.values[node], spec.name, taken={port.name for port in results})
        results.append(_port(spec.name, node))
    used = {name for node in sheet.nodes for name in node.input}
    constants = {name: array for name, array in sheet.constants.items() if name in used}
    stored = _stored(constants, weights)
    graph = helper.make_graph(
        sheet.nodes, "model", ports, results, stored, value_info=_shapes(captured, sheet, results)
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )


LARGE = 1024
"""Bytes of a constant from which on it goes to a file of its own, where there is one."""

ALIGNMENT = 64
"""Bytes; what is mapped from there can be read as any type."""


def _stored(constants: Mapping[str, np.ndarray], weights: Path | None) -> list[onnx.TensorProto]:
    if weights is None:
        return [numpy_helper.from_array(array, name) for name, array in constants.items()]
    found = []
    with weights.open("wb") as file:
        for name, array in constants.items():
            if array.nbytes < LARGE:
                found.append(numpy_helper.from_array(array, name))
                continue
            file.write(bytes(-file.tell() % ALIGNMENT))
            found.append(_reference(name, array, weights.name, file.tell()))
            file.write(np.ascontiguousarray(array).data)
    return found


def _reference(name: str, array: np.ndarray, file: str, offset: int) -> onnx.TensorProto:
    """A tensor whose numbers are those of the array, and lie at an offset of a file."""
    tensor = onnx.TensorProto(
        name=name,
        dims=array.shape,
        data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
        data_location=onnx.TensorProto.EXTERNAL,
    )
    for key, value in {"location": file, "offset": offset, "length": array.nbytes}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _port(name: str, node: fx.Node) -> onnx.ValueInfoProto:
    value = shape_of(node)
    return helper.make_tensor_value_info(name, TYPES[value.dtype], list(value.shape))


def _shapes(
    captured: CapturedGraph, sheet: Sheet, results: Sequence[onnx.ValueInfoProto]
) -> list[onnx.ValueInfoProto]:
    """The shapes that PyTorch knows, of which ONNX cannot infer some."""
    known = {port.name for port in results}
    found = []
    for node in captured.operations:
        name, value = sheet.values[node], node.meta.get("val")
        if isinstance(name, str) and isinstance(value, torch.Tensor) and name not in known:
            known.add(name)
            if name not in sheet.constants:
                found.append(_port(name, node))
    return found


def _store(captured: CapturedGraph, node: fx.Node, sheet: Sheet) -> None:
    name = sheet.known.get(("parameter", str(node.target)))
    if name is None:
        array = captured.constant(node).detach().numpy()
        name = sheet.store(sheet.unique(str(node.target)), array)
        sheet.known["parameter", str(node.target)] = name
    sheet.values[node] = name


def _written(node: fx.Node, sheet: Sheet) -> Any:
    write = WRITERS.get(packet_of(node))
    if write is None:
        raise UnsupportedOperation(
            f"operation {operation_of(node)} cannot be exported",
            where=user_line(node),
            do="write it with operations that phones have: convolutions, resizing, "
            "elementwise arithmetic, reductions",
        )
    return write(Emission(node, sheet))


def _give_out(sheet: Sheet, value: str, name: str, taken: set[str]) -> None:
    """Names an operation's result as an output; what is no such result is copied."""
    for node in sheet.nodes:
        if value in node.output and value not in taken:
            for place, found in enumerate(node.output):
                if found == value:
                    node.output[place] = name
            _rename(sheet, value, name)
            return
    sheet.nodes.append(helper.make_node("Identity", [value], [name], name=f"/Identity_{name}"))


def _rename(sheet: Sheet, old: str, new: str) -> None:
    for node in sheet.nodes:
        for place, found in enumerate(node.input):
            if found == old:
                node.input[place] = new
    for key, value in sheet.values.items():
        if value == old:
            sheet.values[key] = new
