"""A captured graph as TorchScript, which is what coremltools converts best.

Measured with coremltools 9.0: its own reader of `torch.export` takes 5 of 11 networks for which
the trace of the exported graph takes 6, and ignores the scale of selu and strides left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any
from unittest import mock

import torch
from torch import fx

from converters.graph import recurrent
from converters.graph.captured import CapturedGraph
from converters.graph.rules import projects
from converters.graph.sources import working_on


def scripted(captured: CapturedGraph, inputs: Sequence[torch.Tensor]) -> torch.jit.ScriptModule:
    """The graph as TorchScript; its values are named as the nodes of the graph."""
    module = _in_ascii(captured.module)
    runner = _Namer(module)
    with (
        warnings.catch_warnings(),
        torch.no_grad(),
        mock.patch.object(module, "forward", runner.named),
    ):
        warnings.simplefilter("ignore")
        return torch.jit.trace(module, tuple(inputs), check_trace=False)


def _in_ascii(module: fx.GraphModule) -> fx.GraphModule:
    """The same with parameters that ASCII names: a file of others TorchScript does not read."""
    reads = [node for node in module.graph.nodes if node.op == "get_attr"]
    if all(str(node.target).isascii() for node in reads):
        return module
    named = dict([*module.named_parameters(), *module.named_buffers()])
    graph = fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    for node in graph.find_nodes(op="get_attr"):
        named[_ascii(node.target)] = named[node.target]
        node.target = _ascii(node.target)
    return fx.GraphModule(named, graph)


def _ascii(name: str) -> str:
    """`größe.weight` as `gr_f6_df_e.weight`."""
    return "".join(letter if letter.isascii() else f"_{ord(letter):x}_" for letter in name)


LONGEST = 32
"""Steps of a GRU that are written one after the other: of more, coremltools makes a loop, which
converts faster (100 steps in one direction took 16 s)."""


def _steps(node: fx.Node) -> Any:
    """What computes a recurrent layer that coremltools lacks, or None."""
    aten: Any = torch.ops.aten
    args: Any = node.args
    if node.target is aten.lstm.input:
        return recurrent.lstm if projects(node) else None
    if node.target is aten.gru.input:
        steps = args[0].meta["val"].shape[1 if args[8] else 0]
        return recurrent.gru if steps <= LONGEST else None
    if node.target in (aten.rnn_tanh.input, aten.rnn_relu.input) and args[7]:
        return recurrent.decompositions()[node.target]
    return None


class _Namer(fx.Interpreter):
    """Runs the graph while it is traced, and names what each node gives."""

    def named(self, *inputs: torch.Tensor) -> Any:
        given = _apart(self.run(*inputs), inputs, _computed_outputs(self.graph))
        return given[0] if len(given) == 1 else given

    def run_node(self, n: fx.Node) -> Any:
        steps = _steps(n) if n.op == "call_function" else None
        if steps is not None:
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            with working_on(n):
                return steps(*args, **kwargs)
        result = super().run_node(n)
        if n.op == "call_function" and isinstance(result, torch.Tensor):
            _name(result, n.name)
        return result


def _apart(
    given: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor], computed: Sequence[bool]
) -> list[torch.Tensor]:
    """The outputs, each a value of its own that is computed of an input, and is none.

    coremltools gives a value one name, and takes no constant for an output; PyTorch traces no
    graph that gives nothing else.
    """
    found: list[torch.Tensor] = []
    seen: set[int] = set()
    for one, is_computed in zip(given, computed, strict=True):
        if not is_computed:
            found.append(_constant(one, inputs[0]))
        elif id(one) in seen:
            found.append(one * 1)
        else:
            found.append(one.reshape(one.shape) if any(one is x for x in inputs) else one)
        seen.add(id(one))
    return found


def _constant(value: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A constant, computed of an input that changes nothing in it, whatever that holds."""
    first = x.reshape(-1)[:1].float()
    never = torch.logical_and(first > 0, first < 0).reshape([1] * value.ndim)
    return torch.logical_or(value, never) if value.dtype is torch.bool else value + never.to(value)


def _computed_outputs(graph: fx.Graph) -> list[bool]:
    """Whether each output depends on an input."""
    reached: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or reached.intersection(node.all_input_nodes):
            reached.add(node)
    return [one in reached for one in graph.output_node().args[0]]  # type: ignore[union-attr]


def _name(tensor: torch.Tensor, name: str) -> None:
    jit: Any = torch._C
    if jit._get_tracing_state() is not None:
        jit._get_value_trace(tensor).setDebugName(name)
