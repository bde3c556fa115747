"""What rewrites look at and how they change a graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from converters.lowering.graph import Graph, Node, Shape


class Links:
    """Who makes and who reads each value of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._makers = {name: node for node in graph.nodes for name in node.outputs}
        self._readers: dict[str, list[Node]] = defaultdict(list)
        for node in graph.nodes:
            for name in node.inputs:
                self._readers[name].append(node)

    def maker(self, name: str, *ops: str) -> Node | None:
        """The node that makes a value, if it is one of these operations."""
        node = self._makers.get(name)
        return node if node is not None and (not ops or node.op in ops) else None

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read a value, once for each time that they do."""
        return tuple(self._readers[name])

    def reader(self, name: str, *ops: str) -> Node | None:
        """The only reader of a value that nobody else sees, if it is one of these operations."""
        readers = self._readers[name]
        if len(readers) != 1 or name in self.graph.outputs or readers[0].op not in ops:
            return None
        return readers[0]

    def is_private(self, name: str) -> bool:
        """Whether one node alone sees a value."""
        return len(self._readers[name]) == 1 and name not in self.graph.outputs

    def scalar(self, name: str) -> float | None:
        """The one number of a constant; None for anything else."""
        array = self.graph.constants.get(name)
        return None if array is None or array.size != 1 else float(array.item())


@dataclass
class Edit:
    """Replacements collected while walking a graph: `done` applies them all.

    Nodes that replace others stand where the last of them stood; values between them that
    nobody reads any more are dropped with the nodes that made them.
    """

    graph: Graph
    placed: dict[str, tuple[Node, ...]] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)

    def replace(self, old: Sequence[Node], new: Sequence[Node]) -> None:
        """Put `new` in the place of the last of `old`, which all go."""
        # The last stands behind all that any of them reads, and before all that reads its result,
        # so that the graph stays in an order in which it can be computed.
        self.placed[old[-1].name] = tuple(new)
        self.removed |= {node.name for node in old}

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants[name] = array
        self.value(name, array.shape, str(array.dtype))
        return name

    def value(self, name: str, shape: Shape, kind: str = "float32") -> str:
        """A new value, of a shape that the lowering will check."""
        self.shapes[name], self.types[name] = shape, kind
        return name

    def shape(self, name: str) -> Shape:
        """The shape of a value of the graph, or of a new one."""
        return self.shapes[name] if name in self.shapes else self.graph.shapes[name]

    def part(self, name: str, source: str, axis: int, start: int, end: int) -> Node:
        """A slice along one axis, whose result has the node's name."""
        bounds = [
            self.constant(f"{name}/{what}", np.array([n], np.int64))
            for what, n in (("start", start), ("end", end), ("axis", axis))
        ]
        shape = self.shape(source)
        kind = self.types.get(source) or self.graph.types[source]
        result = self.value(name, (*shape[:axis], end - start, *shape[axis + 1 :]), kind)
        return node("Slice", name, [source, *bounds], [result])

    def done(self) -> Graph:
        """The graph with all replacements; the same object if there are none."""
        if not self.placed:
            return self.graph
        nodes: list[Node] = []
        for node in self.graph.nodes:
            nodes.extend(self.placed.get(node.name, ()))
            if node.name not in self.removed:
                nodes.append(node)
        return replace(
            self.graph,
            nodes=tuple(nodes),
            constants={**self.graph.constants, **self.constants},
            shapes={**self.graph.shapes, **self.shapes},
            types={**self.graph.types, **self.types},
        )


def node(
    op: str, name: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
) -> Node:
    return Node(op, name, tuple(inputs), tuple(outputs), attributes)


def with_attributes(old: Node, **attributes: Any) -> Node:
    """The node with some attributes set, or removed where they are None."""
    merged: Mapping[str, Any] = {**old.attributes, **attributes}
    return replace(old, attributes={k: v for k, v in merged.items() if v is not None})
