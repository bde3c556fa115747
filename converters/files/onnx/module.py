"""An ONNX graph as a nn.Module: each node a module that is named after it."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from converters.files.onnx.call import Layer, NodeCall
from converters.files.onnx.conv import linear
from converters.files.onnx.graph import OnnxGraph, captured, inlined
from converters.files.onnx.table import FOREIGN, INSTEAD, LINEAR, OPERATIONS, OTHERWISE
from converters.lowering.graph import Node
from model_defs.errors import BadArtifact, MlshipError, UnsupportedOperation

OF_SHAPES = {"ConstantOfShape", "EyeLike", "Shape", "Size"}
"""Operators that know no more of their input than its shape, so that their result is a constant."""
WORDS = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True)
class Step:
    """One call of a module: the path of it, the values that it takes and those that it gives."""

    path: str
    node: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    last: frozenset[str] = frozenset()


class OnnxModule(nn.Module):
    """A graph of ONNX that PyTorch runs: a module for each node, a tensor for each constant.

    Inputs and outputs are in the file's order. Modules and parameters are named after the nodes
    and initializers, with their dots: `layer1.0.conv1.weight`.
    """

    is_of_one_size = True  # see converters.sizes: what follows of shapes alone is a constant

    def __init__(self, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.input_names, self.output_names = tuple(inputs), tuple(outputs)
        self.steps: tuple[Step, ...] = ()
        self.held: dict[str, str] = {}

    def forward(self, *inputs: Tensor) -> Any:
        values = self.values(*inputs, keep=self.output_names)
        found = tuple(values[name] for name in self.output_names)
        return found[0] if len(found) == 1 else found

    def values(self, *inputs: Tensor, keep: Sequence[str] | None = None) -> dict[str, Tensor]:
        """The values of the graph by their names in the file: all, or those that are kept."""
        values = dict(zip(self.input_names, inputs, strict=True))
        values |= {name: self._tensor(path) for name, path in self.held.items()}
        for step in self.steps:
            found = self.get_submodule(step.path)(*(values[name] for name in step.inputs))
            results = found if isinstance(found, tuple | list) else (found,)
            values.update(zip(step.outputs, results, strict=False))
            if keep is not None:
                for name in step.last.difference(keep):
                    values.pop(name, None)
        return values

    def _tensor(self, path: str) -> Tensor:
        owner, _, name = path.rpartition(".")
        found: Tensor = getattr(self.get_submodule(owner), name)
        return found


def build(graph: OnnxGraph, example: Sequence[Tensor]) -> OnnxModule:
    """The module of a graph; constants are folded by running it once on an example.

    Raises UnsupportedOperation for what is not read, with the name of the node.
    """
    _check_operators(graph)
    builder = _Builder(graph, example)
    with torch.no_grad():
        return builder.build()


def _check_operators(graph: OnnxGraph) -> None:
    """Name all operators that are not read at once, and how many nodes have each."""
    known = {*OPERATIONS, "If", LINEAR}
    missing = Counter(node.op for node in graph.nodes if node.op not in known)
    if not missing:
        return
    where = next(node for node in graph.nodes if node.op in missing)
    listed = ", ".join(f"{op} ({_nodes(n)})" for op, n in missing.items())
    advice = INSTEAD.get(where.op, FOREIGN if "." in where.op else OTHERWISE)
    raise UnsupportedOperation(
        f"operators of the file that are not read: {listed}",
        where=f"{graph.path}, node '{where.name}'",
        do=advice,
    )


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


class _Builder:
    """What is known while a graph is walked: values, which of them are constant, and names."""

    def __init__(self, graph: OnnxGraph, example: Sequence[Tensor]) -> None:
        self.graph = graph
        self.nodes = deque(_with_biases(graph))
        self.module = OnnxModule([fed.name for fed in graph.inputs], graph.outputs)
        self.values = dict(zip(self.module.input_names, example, strict=True))
        self.constants: dict[str, Tensor] = {}
        for name, array in graph.constants.items():
            self.constants[name] = torch.from_numpy(np.array(array))
        self.uses = Counter(name for node in self.nodes for name in node.inputs)
        self.uses.update(name for node in self.nodes for name in captured(node))
        self.uses.update(graph.outputs)
        self.paths: set[str] = set()
        self.shared: dict[Any, str] = {}
        self.steps: list[Step] = []

    def build(self) -> OnnxModule:
        while self.nodes:
            node = self.nodes.popleft()
            if node.op == "If":
                self._decide(node)
            else:
                self._add(node)
        taken = {name for step in self.steps for name in step.inputs} | {*self.graph.outputs}
        for name in self.constants:
            if name in taken:
                self._hold(name)
        for name in self.graph.outputs:
            if name not in self.constants and name not in self.values:
                raise BadArtifact(f"nothing computes output '{name}'", where=str(self.graph.path))
        self.module.steps = _freed(self.steps)
        return self.module.eval().requires_grad_(False)

    def _decide(self, node: Node) -> None:
        """Put the branch of an If whose condition is a constant in its place."""
        condition = self.constants.get(node.inputs[0])
        if condition is None:
            raise node.refusal("its condition is computed while running", do=INSTEAD["If"])
        prefix = f"{node.name}/"
        nodes, constants = inlined(node, bool(condition.reshape(-1)[0]), prefix)
        self.uses.update(name for inner in nodes for name in inner.inputs)
        self.constants |= {n: torch.from_numpy(np.array(a)) for n, a in constants.items()}
        _check_operators(replace(self.graph, nodes=tuple(nodes)))
        self.nodes.extendleft(reversed(nodes))

    def _add(self, node: Node) -> None:
        operands = tuple(self._value(node, name) for name in node.inputs)
        known = [name in self.constants for name in node.inputs]
        call = NodeCall(
            node,
            self.graph.opset,
            operands,
            frozenset(index for index, is_known in enumerate(known) if is_known),
            tuple(bool(name) and self.uses[name] > 0 for name in node.outputs),
        )
        layer, found = self._run(call)
        results = dict(zip(node.outputs, found, strict=False))
        results.pop("", None)
        folded = node.op in OF_SHAPES or all(
            node.inputs[index] in self.constants for index in layer.operands
        )
        if folded:
            self.constants |= {name: value.contiguous() for name, value in results.items()}
        else:
            self.values |= results
            self._step(node, layer)
        for name in node.inputs:
            self.uses[name] -= 1
            if not self.uses[name]:
                self.values.pop(name, None)

    def _value(self, node: Node, name: str) -> Tensor | None:
        if not name:
            return None
        found = self.constants.get(name)
        found = self.values.get(name) if found is None else found
        if found is None:
            raise node.refusal(f"nothing computes its input '{name}'")
        return found

    def _run(self, call: NodeCall) -> tuple[Layer, Sequence[Tensor]]:
        """The node's module and what it gives; an error of PyTorch is the node's."""
        node = call.node
        try:
            layer = linear(call) if node.op == LINEAR else OPERATIONS[node.op](call)
            layer.module.eval()
            found = layer.module(*(call.inputs[index] for index in layer.operands))
        except MlshipError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, ZeroDivisionError) as e:
            why = (str(e).splitlines() or [type(e).__name__])[0]
            raise node.refusal(f"cannot be computed: {why[:200]}") from e
        results = found if isinstance(found, tuple | list) else (found,)
        for one in results:
            call.sized(one.shape)
        return layer, results

    def _step(self, node: Node, layer: Layer) -> None:
        key = (node.op, repr(sorted(node.attributes.items(), key=str)), *self._owned(node, layer))
        path = self.shared.get(key) if layer.owned else None
        if path is None:
            path = self._free(self._named_by_weight(node, layer) or node.name, node.op)
            _place(self.module, path, layer.module)
            self.shared[key] = path
        inputs = tuple(node.inputs[index] for index in layer.operands)
        self.steps.append(Step(path, node.name, inputs, node.outputs))

    def _owned(self, node: Node, layer: Layer) -> list[str]:
        return [node.inputs[i] for i in layer.owned if i < len(node.inputs)]

    def _named_by_weight(self, node: Node, layer: Layer) -> str:
        """`layer1.0.conv1` where the node's own numbers are `layer1.0.conv1.weight`, or `.bias`."""
        for name in self._owned(node, layer):
            owner, _, last = name.rpartition(".")
            if owner and last in ("weight", "bias"):
                return owner
        return ""

    def _free(self, name: str, fallback: str) -> str:
        """A path that no module has: `/a/b.0/Conv` becomes a.b_0.Conv."""
        parts = [_word(part) for part in re.split(r"[/.:]+", name)]
        path = ".".join(part for part in parts if part) or _word(fallback)
        number, found = 1, path
        while found in self.paths or _taken(self.module, found):
            number += 1
            found = f"{path}_{number}"
        self.paths.add(found)
        return found

    def _hold(self, name: str) -> None:
        """Keep a constant that steps take: numbers as a parameter, all else as a buffer."""
        value = self.constants[name]
        path = self._free(name, "constant")
        owner, _, last = path.rpartition(".")
        parent = _container(self.module, owner)
        if name in self.graph.constants and value.is_floating_point():
            parent.register_parameter(last, nn.Parameter(value))
        else:
            parent.register_buffer(last, value)
        self.module.held[name] = path


def _word(part: str) -> str:
    found = WORDS.sub("_", part).strip("_")
    return f"n{found}" if found[:1].isdigit() and not found.isdigit() else found


def _taken(module: nn.Module, path: str) -> bool:
    """Whether a path is, or goes through, what is something else already."""
    for part in path.split("."):
        if not hasattr(module, part):
            return False
        found = getattr(module, part)
        if not isinstance(found, nn.Module):
            return True
        module = found
    return True


def _container(module: nn.Module, path: str) -> nn.Module:
    for part in path.split(".") if path else ():
        if not hasattr(module, part):
            module.add_module(part, nn.Module())
        module = getattr(module, part)
    return module


def _place(module: nn.Module, path: str, part: nn.Module) -> None:
    owner, _, name = path.rpartition(".")
    _container(module, owner).add_module(name, part)


def _freed(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, each with the values that none after it takes."""
    seen: set[str] = set()
    found = []
    for step in reversed(steps):
        last = frozenset({*step.inputs, *step.outputs} - seen)
        seen |= {*step.inputs}
        found.append(replace(step, last=last))
    return tuple(reversed(found))


def _with_biases(graph: OnnxGraph) -> list[Node]:
    """The nodes, with a MatMul and the Add of a constant bias that follows it as one.

    So writes PyTorch's exporter a linear layer of more than two dimensions.
    """
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(graph.outputs)
    products = {node.outputs[0]: node for node in graph.nodes if _is_linear(node, graph.constants)}
    merged, gone = {}, set()
    for node in graph.nodes:
        if node.op != "Add":
            continue
        for value, bias in (node.inputs, node.inputs[::-1]):
            product = products.get(value)
            if product is None or uses[value] > 1 or product.name in gone:
                continue
            width = graph.constants[product.inputs[1]].shape[1]
            if bias in graph.constants and graph.constants[bias].shape == (width,):
                merged[node.outputs[0]] = Node(
                    LINEAR, product.name, (*product.inputs, bias), node.outputs
                )
                gone.add(value)
                break
    return [
        merged.get(node.outputs[0], node) for node in graph.nodes if node.outputs[0] not in gone
    ]


def _is_linear(node: Node, constants: Mapping[str, np.ndarray]) -> bool:
    if node.op != "MatMul" or node.inputs[1] not in constants:
        return False
    weight = constants[node.inputs[1]]
    return weight.ndim == 2 and weight.dtype == np.float32
