"""Quantising and dequantising at once: what a recipe's activations go through."""

from __future__ import annotations

from dataclasses import dataclass

from converters.lowering.graph import Graph, Node
from converters.lowering.rewrites.edit import Edit, Links, node

LOWEST = {"int8": -128, "uint8": 0}
"""The least of 256 codes."""


@dataclass(frozen=True)
class FuseFakeQuantize:
    """The nearest of 256 numbers, as one operation.

    Before: DequantizeLinear(QuantizeLinear(x, scale, zero), scale, zero), codes of int8
    After:  FakeQuantize(x), low = (-128 - zero) * scale, high = (127 - zero) * scale

    Blocked by scales or zero points that differ, are computed, or of which there is one for
    each channel, by codes of more than 8 bits, and by codes that something else reads.
    """

    name = "fuse-fake-quantize"

    def __call__(self, graph: Graph) -> Graph:
        links, edit = Links(graph), Edit(graph)
        for first in graph.nodes:
            if first.op != "QuantizeLinear":
                continue
            second = links.reader(first.outputs[0], "DequantizeLinear")
            if second is not None and (ends := _ends(links, first, second)) is not None:
                low, high = ends
                new = node(
                    "FakeQuantize", first.name, first.inputs[:1], second.outputs, low=low, high=high
                )
                edit.replace([first, second], [new])
        return edit.done()


def _ends(links: Links, first: Node, second: Node) -> tuple[float, float] | None:
    """The least and the largest number of the grid; None where it is blocked."""
    if len(first.inputs) != 3 or len(second.inputs) != 3:
        return None
    scale, zero = (links.scalar(name) for name in first.inputs[1:])
    # Back by another scale than there is a change of unit, not the nearest number of a grid.
    if scale is None or zero is None or [scale, zero] != [*map(links.scalar, second.inputs[1:])]:
        return None
    # The lowering leaves TensorFlow's operation at 8 bits: a grid of 16 stays two operations.
    lowest = LOWEST.get(links.graph.types[first.outputs[0]])
    if lowest is None:
        return None
    return (lowest - zero) * scale, (lowest + 255 - zero) * scale
