"""A .tflite file taken apart: each operator alone in a file of its own, to be timed."""

from __future__ import annotations

from collections.abc import Iterator

from ai_edge_litert import schema_py_generated as schema

from converters.tflite.names import layer_of
from converters.tflite.store import packed

UNFIT = (schema.BuiltinOperator.IF, schema.BuiltinOperator.WHILE, schema.BuiltinOperator.CALL_ONCE)
"""Operators that are nothing without other graphs."""


def single_operators(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(layer, file) of each operator that computes with what the network is given.

    A DEQUANTIZE of weights goes with the operators that read it: XNNPACK takes both as one.
    """
    model = schema.ModelT.InitFromPackedBuf(data)
    graph = model.subgraphs[0]
    stored = {i for i, t in enumerate(graph.tensors) if _has_data(model, t)}
    unpacks = {op.outputs[0]: op for op in graph.operators if set(op.inputs) <= stored}
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if operator.outputs[0] in unpacks or code in UNFIT:
            continue
        before = [unpacks[i] for i in dict.fromkeys(operator.inputs) if i in unpacks]
        name = graph.tensors[operator.outputs[0]].name.decode()
        yield layer_of(name), packed(_alone(model, [*before, operator], stored))


def _has_data(model: schema.ModelT, tensor: schema.TensorT) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _alone(
    model: schema.ModelT, operators: list[schema.OperatorT], stored: set[int]
) -> schema.ModelT:
    """A model of these operators, the last of which gives its outputs."""
    old = model.subgraphs[0]
    used = dict.fromkeys(i for op in operators for i in [*op.inputs, *op.outputs] if i >= 0)
    place = {index: new for new, index in enumerate(used)}
    made, graph = schema.ModelT(), schema.SubGraphT()
    made.version, made.operatorCodes = model.version, model.operatorCodes
    made.buffers, graph.tensors = [schema.BufferT()], []
    for index in used:
        tensor = _copied(old.tensors[index])
        if index in stored:
            tensor.buffer = len(made.buffers)
            made.buffers.append(model.buffers[old.tensors[index].buffer])
        graph.tensors.append(tensor)
    computed = {i for op in operators for i in op.outputs}
    graph.inputs = [place[i] for i in used if i not in stored and i not in computed]
    graph.outputs = [place[i] for i in operators[-1].outputs]
    graph.operators = [_moved(op, place) for op in operators]
    made.subgraphs = [graph]
    return made


def _copied(tensor: schema.TensorT) -> schema.TensorT:
    """The same tensor, without numbers."""
    new = schema.TensorT()
    vars(new).update(vars(tensor), buffer=0)
    return new


def _moved(operator: schema.OperatorT, place: dict[int, int]) -> schema.OperatorT:
    """The same operator, its tensors at other indices."""
    new = schema.OperatorT()
    vars(new).update(vars(operator))
    new.inputs = [place.get(i, -1) for i in operator.inputs]
    new.outputs = [place[i] for i in operator.outputs]
    return new
