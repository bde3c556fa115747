"""Arithmetic on maps that were enlarged alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from converters.lowering.graph import Graph, Node
from converters.lowering.rewrites.edit import Edit, Links
from converters.lowering.rewrites.nearest_as_concats import times

POINTWISE = ("Add", "Div", "Max", "Min", "Mul", "Sub")


@dataclass(frozen=True)
class PointwiseBeforeNearest:
    """Computes on the small maps and enlarges the result.

    Before: Mul(Resize(x), Resize(y)), both enlarged as often by nearest neighbour
    After:  Resize(Mul(x, y))

    Each result is computed of one pixel of x and of the pixel of y at the same place, and is
    the same number as often as they are repeated: equal to the bit. Blocked by enlargements that
    differ, by operands of which neither has the result's shape, and where nothing goes: where
    both enlarged maps are read by something else.
    """

    name = "pointwise-before-nearest"

    def __call__(self, graph: Graph) -> Graph:
        links, edit = Links(graph), Edit(graph)
        for old in graph.nodes:
            if old.op in POINTWISE and (pair := _pair(links, old)) is not None:
                _rewrite(edit, links, old, pair)
        result = edit.done()
        return graph if result is graph else self(result)  # what reads the result, in turn


def _pair(links: Links, old: Node) -> tuple[Node, Node] | None:
    """What enlarges both operands; None where it is blocked."""
    graph = links.graph
    if len(old.inputs) != 2:
        return None
    first, second = (links.maker(name, "Resize") for name in old.inputs)
    if first is None or second is None or first.name == second.name:
        return None
    found = times(graph, first)
    if found is None or found != times(graph, second):
        return None
    small = [graph.shapes[resize.inputs[0]] for resize in (first, second)]
    # One of the Resizes is taken over as it is, its sizes too: it has to make the result's.
    if np.broadcast_shapes(*small) not in small:
        return None
    return (first, second) if any(links.is_private(name) for name in old.inputs) else None


def _rewrite(edit: Edit, links: Links, old: Node, pair: tuple[Node, Node]) -> None:
    small = [resize.inputs[0] for resize in pair]
    largest = max(pair, key=lambda resize: prod(edit.graph.shapes[resize.inputs[0]]))
    kind, shape = edit.graph.types[old.outputs[0]], edit.graph.shapes[largest.inputs[0]]
    result = edit.value(f"{old.name}/small", shape, kind)
    gone = [resize for resize in pair if links.is_private(resize.outputs[0])]
    resize = replace(
        largest,
        name=f"{old.name}/resize",
        inputs=(result, *largest.inputs[1:]),
        outputs=old.outputs,
    )
    edit.replace([*gone, old], [replace(old, inputs=tuple(small), outputs=(result,)), resize])
