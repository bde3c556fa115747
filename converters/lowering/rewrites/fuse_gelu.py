"""GELU as the exporter writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isclose, sqrt

from converters.lowering.graph import Graph, Node
from converters.lowering.rewrites.edit import Edit, Links, node


@dataclass(frozen=True)
class FuseGelu:
    """The five operations of a GELU with erf as one.

    Before: Mul(Mul(x, Add(Erf(Div(x, sqrt(2))), 1)), 0.5)
    After:  Gelu(x)

    TFLite has a GELU of its own, which XNNPACK runs; for TF.js the five are as fast as what
    would take their place. Blocked by other constants, by another x in the product, and by a
    value in between that something else reads.
    """

    name = "fuse-gelu"

    def __call__(self, graph: Graph) -> Graph:
        links, edit = Links(graph), Edit(graph)
        for erf in graph.nodes:
            if erf.op == "Erf" and (chain := _chain(links, erf)) is not None:
                x = chain[0].inputs[0]
                last = chain[-1]
                edit.replace(chain, [node("Gelu", last.name, [x], last.outputs)])
        return edit.done()


def _chain(links: Links, erf: Node) -> list[Node] | None:
    """Div, Erf, Add, Mul, Mul; None if it is not a GELU."""
    divide = links.maker(erf.inputs[0], "Div")
    if divide is None or not links.is_private(erf.inputs[0]):
        return None
    root = links.scalar(divide.inputs[1])
    # Files hold sqrt(2) as float32, 2e-8 beside it: it never equals Python's.
    if root is None or not isclose(root, sqrt(2), rel_tol=1e-6):
        return None
    x = divide.inputs[0]
    add = _next(links, erf, "Add", lambda other: links.scalar(other) == 1)
    # With another value than the very x that was divided it is a gate, and no GELU.
    product = add and _next(links, add, "Mul", lambda other: other == x)
    half = product and _next(links, product, "Mul", lambda other: links.scalar(other) == 0.5)
    return None if not (add and product and half) else [divide, erf, add, product, half]


def _next(links: Links, node: Node, op: str, fits: Callable[[str], bool]) -> Node | None:
    """The only reader of a node's result, if it is this operation and its other operand fits."""
    reader = links.reader(node.outputs[0], op)
    if reader is None:
        return None
    others = [name for name in reader.inputs if name != node.outputs[0]]
    return reader if len(others) == 1 and fits(others[0]) else None
