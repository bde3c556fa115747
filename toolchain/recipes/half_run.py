"""What a program computes where some of its layers are in float16, and the others in float32."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from converters.api import Program, Tensors
from converters.encodings import is_exact
from converters.graph import clean
from converters.graph.sources import operation_of
from converters.program_graph import captured_of, tensors_of

KERNELS = (
    *("conv1d", "conv2d", "conv3d", "convolution", "linear", "addmm", "mm", "matmul", "bmm"),
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
)
"""Operations that Core ML computes in what their kernel is in; see `converters.coreml.grids`."""

Nodes = Collection[fx.Node]
Values = Mapping[fx.Node, Any]


@dataclass(frozen=True)
class HalfRun:
    """Runs the graph of a program, some of whose numbers are rounded to float16 on the way.

    What a layer holds is rounded, unless it is kept. With `arithmetic`, so is all that an operation
    reads and makes, as in Core ML: but for that of a kernel that stays float32, and of what
    follows it up to the next kernel.
    """

    program: Program
    arithmetic: bool

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The layers that can be kept, in the order of the graph."""
        return tuple(dict.fromkeys([*self._owners.values(), *self._parameters.values()]))

    @cached_property
    def _graph(self) -> fx.GraphModule:
        return captured_of(self.program).module

    @cached_property
    def _operations(self) -> tuple[fx.Node, ...]:
        return tuple(node for node in self._graph.graph.nodes if node.op == "call_function")

    @cached_property
    def _parameters(self) -> Mapping[fx.Node, str]:
        """The layer of each constant that is a parameter, or was folded of some."""
        own = {name for name, _ in self.program.module.named_parameters()}
        found = {}
        for node in self._graph.graph.find_nodes(op="get_attr"):
            names = [str(node.target), *node.meta.get(clean.MADE_OF, ())]
            if made := [name for name in names if name in own]:
                found[node] = made[0].rpartition(".")[0]
        return found

    @cached_property
    def _halves(self) -> Mapping[fx.Node, Tensor]:
        """The constants that float16 does not hold, as it rounds them."""
        constants = self._graph.graph.find_nodes(op="get_attr")
        held = {node: captured_of(self.program).constant(node).detach() for node in constants}
        return {
            node: _half(tensor)
            for node, tensor in held.items()
            if tensor.dtype is torch.float32 and not is_exact(tensor.numpy())
        }

    @cached_property
    def _kernels(self) -> Mapping[fx.Node, str]:
        """The layer of each operation that has a kernel."""
        return {
            node: self._parameters[given]
            for node in self._operations
            if operation_of(node) in KERNELS
            for given in node.all_input_nodes
            if given in self._parameters and given.meta["val"].dim() > 1
        }

    @cached_property
    def _owners(self) -> Mapping[fx.Node, str]:
        """The layer of each operation: of one without a kernel, the first whose result it has.

        In float32, that one takes it along.
        """
        first: dict[fx.Node, fx.Node] = {}
        place = {node: number for number, node in enumerate(self._kernels)}
        for node in self._operations:
            before = [first[given] for given in node.all_input_nodes if given in first]
            if node in self._kernels:
                first[node] = node
            elif before:
                first[node] = min(before, key=place.__getitem__)
        return {node: self._kernels[own] for node, own in first.items()}

    def keeping(self, inputs: Tensors, keep: Collection[str]) -> dict[str, np.ndarray]:
        """The outputs where all layers but these are in float16."""
        wide: set[fx.Node] = set()
        for node in self._operations if self.arithmetic else ():
            reads = node.all_input_nodes
            if node in self._kernels:
                kept = self._kernels[node] in keep and any(n in self._halves for n in reads)
            else:
                kept = any(given in wide for given in reads)
            if kept:
                wide.add(node)
        in_half = set(self._operations) - wide if self.arithmetic else set()
        rounded = {node for node, layer in self._parameters.items() if layer not in keep}
        return self._named(self._run(in_half, rounded), inputs)

    def values(self, inputs: Tensors) -> Values:
        """What each operation makes where nothing is rounded."""
        run = self._run((), ())
        self._named(run, inputs)
        return run.env

    def alone(
        self, inputs: Tensors, layers: Collection[str], known: Values
    ) -> dict[str, np.ndarray]:
        """The outputs where these layers alone are in float16; `known` are the `values`.

        What comes before them, or beside, is not computed again.
        """
        own = {node for node, layer in self._owners.items() if layer in layers}
        rounded = {node for node, layer in self._parameters.items() if layer in layers}
        return self._named(self._run(own if self.arithmetic else (), rounded, known), inputs)

    def _run(self, in_half: Nodes, rounded: Nodes, known: Values | None = None) -> _Rounding:
        constants = {node: self._halves[node] for node in rounded if node in self._halves}
        return _Rounding(self._graph, in_half, constants, known or {})

    def _named(self, run: _Rounding, inputs: Tensors) -> dict[str, np.ndarray]:
        with torch.no_grad(), one_thread():
            found = run.run(*tensors_of(self.program, inputs))
        outputs = zip(self.program.spec.outputs, found, strict=True)
        return {spec.name: output.numpy() for spec, output in outputs}


class _Rounding(fx.Interpreter):
    """Computes a graph with `constants` in place of its own, and in float16 what is `in_half`.

    Of what reads no number that has changed, the values that are `known` are taken.
    """

    def __init__(
        self, graph: fx.GraphModule, in_half: Nodes, constants: Values, known: Values
    ) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self._in_half, self._constants, self._known = in_half, constants, known
        self._changed: set[fx.Node] = set()

    def run_node(self, n: fx.Node) -> Any:
        if n in self._constants:
            self._changed.add(n)
            return self._constants[n]
        if n.op != "call_function":
            return super().run_node(n)
        changed = n in self._in_half or any(given in self._changed for given in n.all_input_nodes)
        if n in self._known and not changed:
            return self._known[n]
        self._changed.add(n)
        if n not in self._in_half:
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        args, kwargs = fx.node.map_aggregate((args, kwargs), _half)
        return fx.node.map_aggregate(self.call_function(n.target, args, kwargs), _half)


def _half(value: Any) -> Any:
    """A float32 tensor as float16 holds it; all else as it is."""
    if isinstance(value, Tensor) and value.dtype is torch.float32:
        return value.half().float()
    return value


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes with one thread.

    Sums do not depend on a machine's cores then; and of maps as small as most are, several threads
    take ten times the CPU of one, waiting for each other.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
