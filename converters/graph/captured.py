"""A module's forward as a graph of ATen operations, captured once by `torch.export`."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import fx, nn
from torch.export.graph_signature import InputKind

from converters.graph import clean, decompose, functional
from converters.graph.data_sizes import guards_refused
from converters.graph.decompose import Rule
from converters.graph.reads import exported
from converters.graph.sources import module_of, operation_of, user_line


@dataclass(frozen=True)
class GraphLayer:
    """One operation: the value that it makes and what it makes it of.

    `module` is the path of the innermost module that calls it ('' for the whole), `source` the
    line of the user's code as `file.py:12`. `weights` says whether it reads parameters.
    """

    value: str
    operation: str
    module: str
    source: str
    inputs: tuple[str, ...]
    weights: bool

    @property
    def label(self) -> str:
        """`down (conv2d)`, or only the operation where no module but the whole calls it."""
        return f"{self.module} ({self.operation})" if self.module else self.operation


@dataclass(frozen=True)
class CapturedGraph:
    """A graph without side effects, in the order of forward; parameters keep their names.

    `module` runs it: positional tensors in, a tuple of tensors out.
    """

    module: fx.GraphModule

    @property
    def graph(self) -> fx.Graph:
        return self.module.graph

    @property
    def inputs(self) -> tuple[fx.Node, ...]:
        return tuple(node for node in self.graph.nodes if node.op == "placeholder")

    @property
    def operations(self) -> tuple[fx.Node, ...]:
        return tuple(node for node in self.graph.nodes if node.op == "call_function")

    @property
    def outputs(self) -> tuple[fx.Node, ...]:
        return tuple(self.graph.output_node().args[0])  # type: ignore[arg-type]

    def constant(self, node: fx.Node) -> torch.Tensor:
        """The tensor that a get_attr node reads."""
        return decompose.attribute(self.module, str(node.target))

    def copied(self) -> fx.GraphModule:
        """A graph of its own, with the same constants."""
        graph = fx.Graph()
        graph.output(graph.graph_copy(self.graph, {}))
        return fx.GraphModule(self.module, graph)

    def decomposed(self, rules: Mapping[Any, Rule]) -> CapturedGraph:
        """The same computation without the operations that have a rule; this graph stays."""
        if not any(decompose.applies(rules, node) for node in self.operations):
            return self
        module = self.copied()
        decompose.decompose(module, rules)
        clean.clean(module)
        return CapturedGraph(module)

    def layers(self) -> Iterator[GraphLayer]:
        """The operations that make one tensor each."""
        for node in self.operations:
            if isinstance(node.meta.get("val"), torch.Tensor):
                reads = [n for n in node.all_input_nodes if n.op == "call_function"]
                weights = any(n.op == "get_attr" for n in node.all_input_nodes)
                yield GraphLayer(
                    node.name,
                    operation_of(node),
                    module_of(node),
                    user_line(node),
                    tuple(n.name for n in reads),
                    weights,
                )


def capture_graph(module: nn.Module, inputs: Sequence[torch.Tensor]) -> CapturedGraph:
    """What the module computes of inputs of these shapes.

    The module is in eval mode; its outputs are the tensors of what it returns, in order. Raises
    what forward raises, and what PyTorch raises for code that depends on numbers in the inputs.
    """
    with warnings.catch_warnings(), torch.no_grad(), _quiet(), guards_refused():
        warnings.simplefilter("ignore")
        program = exported(module, inputs)
        if functional.needs_pytorch(program.graph):
            program = program.run_decompositions({})
    graph = _unlifted(program)
    functional.make_functional(graph.graph)
    clean.clean(graph)
    return CapturedGraph(graph)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch logs and prints the graph so far where a guard fails; the error says enough."""
    loggers = [logging.getLogger(f"torch.{name}") for name in ("_export", "fx", "export")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL)
    try:
        with mock.patch("torch.export._trace.print", create=True):
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


def _unlifted(program: torch.export.ExportedProgram) -> fx.GraphModule:
    """The program's graph with parameters and constants read by name, not passed as inputs."""
    root: dict[str, Any] = {}
    graph = fx.Graph()
    known: dict[fx.Node, fx.Node] = {}
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    for name, value in program.graph_module.named_children():
        root[name] = value
    for node in program.graph.nodes:
        spec = specs.get(node.name) if node.op == "placeholder" else None
        if spec is not None and spec.kind is not InputKind.USER_INPUT:
            target = str(spec.target)
            tensor = (
                program.state_dict[target]
                if target in program.state_dict
                else program.constants[target]
            )
            root[target] = tensor
            known[node] = graph.get_attr(target)
            known[node].meta["val"] = tensor
        elif node.op == "output":
            returned = node.args[0][-_user_outputs(program) :]
            graph.output(tuple(known[n] for n in returned if isinstance(n, fx.Node)))
        else:
            known[node] = graph.node_copy(node, known.__getitem__)
    return fx.GraphModule(root, graph)


def _user_outputs(program: torch.export.ExportedProgram) -> int:
    kinds = [spec.kind.name for spec in program.graph_signature.output_specs]
    return kinds.count("USER_OUTPUT")
