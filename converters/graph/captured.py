"""A module's forward as a graph of ATen operations, captured once by `torch.export`."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
class GraphCall:
    """An operation of a graph, as it runs."""

    node: fx.Node
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    result: Any

    def again(self, *first: Any) -> Any:
        """What it gives for other first arguments."""
        return self.node.target(*first, *self.args[len(first) :], **self.kwargs)  # type: ignore[operator]


Seen = Callable[[GraphCall], Any]
"""Shown each operation, gives the result to go on with."""

Edit = Callable[[fx.Graph], None]
"""Changes a graph that it is given."""


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
        return self.edited().module

    def run(self, inputs: Sequence[torch.Tensor], seen: Seen) -> tuple[torch.Tensor, ...]:
        """What it computes, one operation at a time; each is shown."""
        with torch.no_grad():
            outputs: tuple[torch.Tensor, ...] = _Watched(self.module, seen).run(*inputs)
        return outputs

    @cached_property
    def by_module(self) -> Mapping[str, tuple[fx.Node, ...]]:
        """The path of a module -> the operations that it calls itself, in order."""
        found: dict[str, list[fx.Node]] = defaultdict(list)
        for node in self.operations:
            found[module_of(node)].append(node)
        return {path: tuple(nodes) for path, nodes in found.items()}

    @cached_property
    def reads(self) -> Mapping[str, int]:
        """A parameter's or constant's name -> how many operations read it.

        What was folded of it counts as two: how often it was read is not known any more.
        """
        found: Counter[str] = Counter()
        for node in self.graph.find_nodes(op="get_attr"):
            found[str(node.target)] += len(node.users)
            for name in node.meta.get(clean.MADE_OF, ()):
                found[name] += 2
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> CapturedGraph:
        return CapturedGraph(copy.deepcopy(self.module, memo))

    def edited(self, edit: Edit = lambda graph: None) -> CapturedGraph:
        """A copy with what an edit leaves of the operations, which read the same numbers."""
        return CapturedGraph(fx.GraphModule(self.module, self._copied(edit)))

    def _copied(self, edit: Edit) -> fx.Graph:
        graph = fx.Graph()
        graph.output(graph.graph_copy(self.graph, {}))
        edit(graph)
        return graph

    def on(self, module: nn.Module, edit: Edit = lambda graph: None) -> CapturedGraph | None:
        """The same operations, or those that an edit leaves, on the numbers of another module.

        Parameters keep their names. None where a constant was folded of what has changed.
        """
        own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        graph, root = self._copied(edit), {}
        for node in graph.find_nodes(op="get_attr"):
            made_of = node.meta.get(clean.MADE_OF, {})
            if not all(_equal(own[name], was) for name, was in made_of.items() if name in own):
                return None
            name = str(node.target)
            root[name] = own[name] if name in own else self.constant(node)
            node.meta["val"] = root[name]
        return CapturedGraph(fx.GraphModule(root, graph))

    def with_constants(self, others: Mapping[str, torch.Tensor]) -> CapturedGraph:
        """The same operations on other numbers of some constants, by name."""
        graph, root = self._copied(lambda graph: None), {}
        for node in graph.find_nodes(op="get_attr"):
            name = str(node.target)
            root[name] = others[name] if name in others else self.constant(node)
            node.meta["val"] = root[name]
        return CapturedGraph(fx.GraphModule(root, graph))

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


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one is other or (one.dtype is other.dtype and torch.equal(one, other))


class _Watched(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, seen: Seen) -> None:
        super().__init__(module)
        self._seen = seen

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.op != "call_function":
            return result
        return self._seen(GraphCall(n, *self.fetch_args_kwargs_from_env(n), result))


class OnGraph(nn.Module):
    """A module that computes what an edit leaves of the graph of its own class, `kind`.

    Comes before that class; `graphs` are what it was captured as at each of its sizes.
    """

    kind: type[nn.Module]
    edit: Edit
    graphs: dict[object, CapturedGraph]

    def graph_for(self, inputs: Sequence[torch.Tensor]) -> CapturedGraph:
        """The graph for inputs of these sizes, captured once."""
        sizes = tuple(tensor.shape for tensor in inputs)
        if sizes not in self.graphs:
            own: nn.Module = copy.copy(self)
            own.__class__ = self.kind
            self.graphs[sizes] = capture_graph(own, inputs).edited(self.edit)
        return self.graphs[sizes]

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.returned(self.graph_for(inputs).module(*inputs))

    def returned(self, outputs: Sequence[torch.Tensor]) -> Any:
        """A single output as it is, several as a tuple."""
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


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
    graph = _unlifted(program, module)
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


def _unlifted(program: torch.export.ExportedProgram, module: nn.Module) -> fx.GraphModule:
    """The program's graph with parameters and constants read by name, not passed as inputs.

    The parameters are the module's own: who changes or copies them does so for both.
    """
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    stored = {**program.constants, **program.state_dict, **own}
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
            root[target] = stored[target]
            known[node] = graph.get_attr(target)
            known[node].meta["val"] = stored[target]
        elif node.op == "output":
            returned = node.args[0][-_user_outputs(program) :]
            graph.output(tuple(known[n] for n in returned if isinstance(n, fx.Node)))
        else:
            known[node] = graph.node_copy(node, known.__getitem__)
    return fx.GraphModule(root, graph)


def _user_outputs(program: torch.export.ExportedProgram) -> int:
    kinds = [spec.kind.name for spec in program.graph_signature.output_specs]
    return kinds.count("USER_OUTPUT")
