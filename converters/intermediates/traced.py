"""A traced module, run one operation at a time, with values of another runtime in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from converters.capture import user_frame
from model_defs.errors import BadModule

Seen = Callable[[str, Tensor], Tensor]
"""Shown each value that was computed, gives the one to go on with."""


@dataclass(frozen=True)
class TracedLayer:
    """One operation of PyTorch: the value that it makes and what it makes it of.

    `module` is the name of the innermost module that calls it ('' for the whole), `source` the
    line of the user's code. `weights` says whether it reads parameters.
    """

    value: str
    operation: str
    module: str
    source: str
    inputs: tuple[str, ...]
    weights: bool

    @property
    def label(self) -> str:
        """`down (conv)`, or only the operation where no module but the whole calls it."""
        return f"{self.module} ({self.operation})" if self.module else self.operation


class Traced:
    """The graph of a `traced.pt`, its values named as coremltools names them.

    coremltools inlines the graph, drops what is dead and renumbers it by the same functions of
    PyTorch, so that a value here has its name in a saved Core ML program.
    """

    def __init__(self, path: Path) -> None:
        self._module = torch.jit.load(str(path), map_location="cpu").eval()
        paths = list(_module_paths(self._module, self._module.forward.graph, ""))
        graph: Any = self._module.forward.graph
        torch._C._jit_pass_inline(graph)
        torch._C._jit_pass_dce(graph)
        torch._C._jit_pass_canonicalize_graph_fuser_ops(graph)
        self._graph = torch._C._jit_pass_canonicalize(graph)
        self._nodes = list(self._graph.nodes())
        self.layers = tuple(_layers(self._nodes, paths))
        self._last_use = {
            value.debugName(): index
            for index, node in enumerate(self._nodes)
            for value in node.inputs()
        }
        for value in self._graph.outputs():
            self._last_use[value.debugName()] = len(self._nodes)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The values that the module returns, in its order."""
        (result,) = self._graph.outputs()
        made = result.node()
        if made.kind() in ("prim::TupleConstruct", "prim::ListConstruct"):
            return tuple(value.debugName() for value in made.inputs())
        return (result.debugName(),)

    def run(self, inputs: Sequence[np.ndarray], seen: Seen) -> None:
        """Compute every value in order; each float tensor is shown, and replaced by the answer."""
        given = [torch.from_numpy(np.ascontiguousarray(array)) for array in inputs]
        names = [value.debugName() for value in self._graph.inputs()]
        env: dict[str, Any] = dict(zip(names, [self._module, *given], strict=True))
        made = {layer.value for layer in self.layers}
        with torch.inference_mode():
            for index, node in enumerate(self._nodes):
                results = _executed(node, [env[v.debugName()] for v in node.inputs()])
                for value, result in zip(node.outputs(), results, strict=True):
                    name = value.debugName()
                    env[name] = seen(name, result) if name in made else result
                for value in node.inputs():
                    if self._last_use[value.debugName()] == index:
                        env.pop(value.debugName(), None)

    def values(self, inputs: Sequence[np.ndarray], names: set[str]) -> dict[str, np.ndarray]:
        """PyTorch's own values of these names."""
        found: dict[str, np.ndarray] = {}

        def keep(name: str, value: Tensor) -> Tensor:
            if name in names:
                found[name] = value.numpy().copy()
            return value

        self.run(inputs, keep)
        return found


def _executed(node: Any, arguments: list[Any]) -> tuple[Any, ...]:
    """What a node of the graph gives for its arguments."""
    kind = node.kind()
    if kind == "prim::Constant":
        return (node.output().toIValue(),)
    if kind == "prim::GetAttr":
        return (getattr(arguments[0], node.s("name")),)
    if kind in ("prim::ListConstruct", "prim::TupleConstruct"):
        return (arguments if kind == "prim::ListConstruct" else tuple(arguments),)
    if kind in ("prim::ListUnpack", "prim::TupleUnpack"):
        return tuple(arguments[0])
    if kind == "prim::ConstantChunk":
        return tuple(arguments[0].chunk(node.i("chunks"), node.i("dim")))
    if kind == "prim::NumToTensor":
        return (torch.tensor(arguments[0]),)
    if not kind.startswith("aten::"):
        raise BadModule(f"{kind} cannot be run alone", where=user_frame(node.sourceRange()))
    positional, named = [], {}
    for parameter, value in zip(
        torch._C.parse_schema(node.schema()).arguments, arguments, strict=True
    ):
        if parameter.kwarg_only:
            named[parameter.name] = value
        else:
            positional.append(value)
    result = getattr(torch.ops.aten, kind.removeprefix("aten::"))(*positional, **named)
    return result if isinstance(result, tuple) else (result,)


def _layers(nodes: Sequence[Any], paths: Sequence[tuple[str, str, str]]) -> Iterator[TracedLayer]:
    """The operations that make one tensor; modules are told by the order of calls.

    `paths` are (operation, source, module) of all operations before inlining, in that order;
    dead ones among them are passed over.
    """
    made: dict[str, tuple[str, ...]] = {}
    weights: set[str] = set()
    place = 0
    for node in nodes:
        kind, source = node.kind(), str(node.sourceRange())
        outputs = [value.debugName() for value in node.outputs()]
        names = [value.debugName() for value in node.inputs()]
        reads = tuple(dict.fromkeys(tensor for name in names for tensor in made.get(name, ())))
        if kind == "prim::GetAttr" and str(node.output().type()) == "Tensor":
            weights.update(outputs)
        module = ""
        if kind.startswith("aten::"):
            while place < len(paths) - 1 and paths[place][:2] != (kind, source):
                place += 1
            module = paths[place][2]
            place += 1
        if kind.startswith("aten::") and len(outputs) == 1 and _is_tensor(node.output()):
            made[outputs[0]] = (outputs[0],)
            operation = kind.removeprefix("aten::").strip("_")
            line, own = user_frame(node.sourceRange()), any(name in weights for name in names)
            yield TracedLayer(outputs[0], operation, module, line, reads, own)
        else:
            made.update(dict.fromkeys(outputs, reads))


def _is_tensor(value: Any) -> bool:
    return bool(value.type().kind() == "TensorType")


def _module_paths(module: Any, graph: Any, prefix: str) -> Iterator[tuple[str, str, str]]:
    """(operation, source, module) of all operations in the order in which they run."""
    owners: dict[str, tuple[Any, str]] = {}
    for value in graph.inputs():
        owners[value.debugName()] = (module, prefix)
        break
    for node in graph.nodes():
        if node.kind() == "prim::GetAttr":
            owner, path = owners.get(node.input().debugName(), (None, ""))
            if owner is not None:
                name = node.s("name")
                owners[node.output().debugName()] = (
                    getattr(owner, name),
                    f"{path}.{name}".strip("."),
                )
        elif node.kind() == "prim::CallMethod":
            owner, path = owners[next(iter(node.inputs())).debugName()]
            yield from _module_paths(owner, getattr(owner, node.s("name")).graph, path)
        elif node.kind().startswith("aten::"):
            yield node.kind(), str(node.sourceRange()), prefix
