"""Nearest-neighbour enlargement by whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converters.lowering import resize
from converters.lowering.graph import Graph, Node
from converters.lowering.rewrites.edit import Edit, node


@dataclass(frozen=True)
class NearestAsConcats:
    """Repeats pixels and rows by concatenating a map with itself.

    Before: Resize(x, scales (1, 1, 2, 2)), mode nearest
    After:  RepeatPixels(x), down 2, right 2: Reshape(Concat(Concat(x, x), Concat(x, x)))

    XNNPACK runs reshapes and concatenations, RESIZE_NEAREST_NEIGHBOR it leaves to LiteRT.
    Blocked by sizes that are computed, by a rank other than 4, and where a pixel is not
    repeated as often as every other: reductions, odd sizes, sampling places in between.
    """

    name = "nearest-as-concats"

    def __call__(self, graph: Graph) -> Graph:
        edit = Edit(graph)
        for old in graph.nodes:
            if old.op == "Resize" and (found := times(graph, old)) is not None:
                new = node("RepeatPixels", old.name, old.inputs[:1], old.outputs, **found)
                edit.replace([old], [new])
        return edit.done()


def times(graph: Graph, old: Node) -> dict[str, int] | None:
    """How often a Resize repeats each row and each pixel; None where it is blocked."""
    a = old.read(**resize.DEFAULTS)
    before, after = graph.shapes[old.inputs[0]], graph.shapes.get(old.outputs[0], ())
    # With `axes`, scales and sizes are of those alone; below, there is one for each axis.
    if a.mode != "nearest" or a.axes or len(before) != 4 or before[:2] != after[:2]:
        return None
    if any(name and name not in graph.constants for name in old.inputs[2:]):
        return None
    # ONNX samples by the scales that are named, also where a rounded size has another ratio.
    scales = _scales(graph, old) or tuple(m / n for n, m in zip(before, after, strict=True))
    down, right = (
        _repeats(old, *axis) for axis in zip(before[2:], after[2:], scales[2:], strict=True)
    )
    return {"down": down, "right": right} if down * right > 1 else None


def _scales(graph: Graph, old: Node) -> tuple[float, ...]:
    """Those that the node names; none where it names sizes."""
    named = old.inputs[2] if len(old.inputs) > 2 else ""
    return tuple(float(s) for s in graph.constants[named]) if named else ()


def _repeats(old: Node, before: int, after: int, scale: float) -> int:
    """How often each input stands in the result; 0 unless all do, in order, equally often."""
    a, times = old.read(**resize.DEFAULTS), after // before
    axis = resize.Axis(before, after, scale, resize.places(old, a, before, after, scale))
    # By what is picked, not by the modes' names: many pairs of them repeat pixels alike.
    picks = resize.picks(old, a, axis)
    return times if np.array_equal(picks, np.arange(before).repeat(times)) else 0
