"""Copies of a tensor that the next operation would make by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from converters.lowering.graph import Graph, Node
from converters.lowering.rewrites.edit import Edit, Links

BROADCASTING = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow")
FAST_ON_WASM = ("Add", "Sub", "Mul", "Div")
"""Max, Min and Pow take longer there to broadcast than a copy does."""


@dataclass(frozen=True)
class BroadcastInPlace:
    """Leaves broadcasting to the operation that reads the copies.

    Before: Mul(Expand(x), y)
    After:  Mul(x, y)

    XNNPACK broadcasts, TILE it leaves to LiteRT. Blocked by a reader that is not one of `ops`,
    by another operand that does not have the full size, and by an expansion that several read
    or that is an output of the network.
    """

    ops: tuple[str, ...] = BROADCASTING
    name = "broadcast-in-place"

    def __call__(self, graph: Graph) -> Graph:
        links, edit = Links(graph), Edit(graph)
        taken: set[str] = set()
        for expand in graph.nodes:
            if expand.op != "Expand":
                continue
            reader = links.reader(expand.outputs[0], *self.ops)
            # Of two Expands that a node reads one goes: without both, nothing may have the result's
            # size, and the second replacement of a node would undo the first.
            if reader is None or reader.name in taken or not _broadcasts(graph, expand, reader):
                continue
            taken.add(reader.name)
            inputs = [
                expand.inputs[0] if name == expand.outputs[0] else name for name in reader.inputs
            ]
            edit.replace([expand, reader], [replace(reader, inputs=tuple(inputs))])
        return edit.done()


def _broadcasts(graph: Graph, expand: Node, reader: Node) -> bool:
    """Whether the reader's result has its shape without the expansion, too."""
    shapes = [
        graph.shapes[expand.inputs[0] if name == expand.outputs[0] else name]
        for name in reader.inputs
    ]
    return np.broadcast_shapes(*shapes) == graph.shapes[reader.outputs[0]]
