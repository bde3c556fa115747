"""The outermost results of a convolution over an enlarged map that is padded by reflection.

With x enlarged s times as u, u[-j] = u[j] = x[j // s], which is x[0], the edge, for j < s only.
A result reads from u[o - P] on: those with o <= P - s read what repeats no whole pixels of x.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from converters.lowering.graph import Graph, Node, Shape
from converters.lowering.rewrites.edit import Edit, node
from converters.lowering.rewrites.enlarged import Enlarged

ROWS, COLUMNS = 2, 3


def outermost(found: Enlarged) -> int:
    """How many rows and columns at each side read what the small map's edge is not."""
    return max(found.reflected - found.scale + 1, 0) if found.reflected else 0


def fits(graph: Graph, conv: Node, found: Enlarged) -> bool:
    """Whether the small map holds the strips that the outermost results read."""
    kernel, sizes = graph.shapes[conv.inputs[1]][ROWS:], graph.shapes[found.source][ROWS:]
    pairs = zip(kernel, sizes, strict=True)
    return not outermost(found) or all(strip_size(found, taps) <= n for taps, n in pairs)


def framed(edit: Edit, conv: Node, found: Enlarged, inner: Node) -> list[Node]:
    """The strips of each side, and all results joined: left, inner, right; top, these, bottom."""
    width = outermost(found)
    shape = edit.graph.shapes[conv.outputs[0]]
    nodes: list[Node] = []
    strips = []
    for axis in (ROWS, COLUMNS):
        for is_last in (False, True):
            made = _strip(edit, conv, found, axis, is_last)
            nodes += made
            strips.append(made[-1].outputs[0])
    top, bottom, *sides = strips
    inside = []
    for side in sides:
        cut = _cut(edit, f"{side}/cut", side, ROWS, width, shape[ROWS] - width)
        nodes.append(cut)
        inside.append(cut.outputs[0])
    middle = edit.value(f"{conv.name}/middle", _sized(shape, ROWS, shape[ROWS] - 2 * width))
    across = [inside[0], inner.outputs[0], inside[1]]
    nodes.append(node("Concat", f"{conv.name}/across", across, [middle], axis=COLUMNS))
    down = [top, middle, bottom]
    return [*nodes, node("Concat", f"{conv.name}/down", down, conv.outputs, axis=ROWS)]


def strip_size(found: Enlarged, taps: int) -> int:
    """How many of the small map's pixels the outermost results read, counted from the edge."""
    last = max(outermost(found) + taps - 2 - found.reflected, found.reflected)
    return last // found.scale + 1


def _strip(edit: Edit, conv: Node, found: Enlarged, axis: int, is_last: bool) -> list[Node]:
    """The outermost results of one side: a part of x enlarged, reflected, cut and convolved."""
    name = f"{conv.name}/{'top left bottom right'.split()[axis - ROWS + 2 * is_last]}"
    shapes, width = edit.graph.shapes, outermost(found)
    taps = shapes[conv.inputs[1]][axis]
    size, read = shapes[found.source][axis], strip_size(found, taps)
    start = size - read if is_last else 0
    part = _cut(edit, f"{name}/part", found.source, axis, start, start + read)
    shape = tuple(n * (found.scale if i >= ROWS else 1) for i, n in enumerate(_shape(edit, part)))
    large = edit.value(f"{name}/large", shape)
    resize = replace(
        found.between[0],
        name=f"{name}/resize",
        inputs=(part.outputs[0], "", _scales(edit, name, found)),
        outputs=(large,),
    )
    widths = np.array([0, 0, found.reflected, found.reflected] * 2, np.int64)
    widths[axis if is_last else axis + 4] = 0
    shape = tuple(n + widths[i] + widths[i + 4] for i, n in enumerate(shape))
    padded = edit.value(f"{name}/padded", tuple(int(n) for n in shape))
    ends = edit.constant(f"{name}/widths", widths)
    pad = node("Pad", f"{name}/pad", [large, ends], [padded], mode="reflect")
    needed = width + taps - 1
    first = shape[axis] - needed if is_last else 0
    cut = _cut(edit, f"{name}/cut", padded, axis, int(first), int(first) + needed)
    result = edit.value(f"{name}/results", _sized(shapes[conv.outputs[0]], axis, width))
    strip = replace(conv, name=name, inputs=(cut.outputs[0], *conv.inputs[1:]), outputs=(result,))
    return [part, resize, pad, cut, strip]


def _scales(edit: Edit, name: str, found: Enlarged) -> str:
    scales = np.array([1, 1, found.scale, found.scale], np.float32)
    return edit.constant(f"{name}/scales", scales)


def _cut(edit: Edit, name: str, source: str, axis: int, start: int, end: int) -> Node:
    """A slice along one axis."""
    bounds = [
        edit.constant(f"{name}/{what}", np.array([n], np.int64))
        for what, n in (("start", start), ("end", end), ("axis", axis))
    ]
    shape = edit.shapes.get(source) or edit.graph.shapes[source]
    result = edit.value(f"{name}/slice", _sized(shape, axis, end - start))
    return node("Slice", name, [source, *bounds], [result])


def _shape(edit: Edit, made: Node) -> Shape:
    return edit.shapes[made.outputs[0]]


def _sized(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])
