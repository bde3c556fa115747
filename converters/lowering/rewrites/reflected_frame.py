"""The outermost results of a convolution over an enlarged map that is padded by reflection.

With x enlarged s times as u, u[-j] = u[j] = x[j // s], which is x[0], the edge, for j < s only.
A result reads from u[o - P] on: those with o <= P - s read what repeats no whole pixels of x.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from converters.lowering.graph import Node
from converters.lowering.rewrites.edit import Edit, node
from converters.lowering.rewrites.enlarged import EnlargedMap

ROWS, COLUMNS, ENDS = 2, 3, ("first", "last")


def outermost(found: EnlargedMap) -> int:
    """How many rows and columns at each side read what the small map's edge is not."""
    return max(found.reflected - found.scale + 1, 0) if found.reflected else 0


def framed(edit: Edit, conv: Node, found: EnlargedMap, inner: str) -> list[Node]:
    """The strips of each side around the inner results: those beside them, then the others."""
    frame, shape = outermost(found), edit.graph.shapes[conv.outputs[0]]
    strips = [_strip(edit, conv, found, axis, end) for axis in (ROWS, COLUMNS) for end in ENDS]
    top, bottom, left, right = (strip[-1].outputs[0] for strip in strips)
    # Each strip runs along its whole side, so that it is one convolution. The corners are in two
    # strips then, and those at the left and right lose theirs.
    cuts = [
        edit.part(f"{side}/cut", side, ROWS, frame, shape[ROWS] - frame) for side in (left, right)
    ]
    middle = edit.value(f"{conv.name}/middle", (*shape[:2], shape[ROWS] - 2 * frame, shape[3]))
    across = [cuts[0].outputs[0], inner, cuts[1].outputs[0]]
    return [
        *(made for strip in strips for made in strip),
        *cuts,
        node("Concat", f"{conv.name}/across", across, [middle], axis=COLUMNS),
        node("Concat", f"{conv.name}/down", [top, middle, bottom], conv.outputs, axis=ROWS),
    ]


def _pixels(found: EnlargedMap, taps: int) -> int:
    """How many of the small map's pixels the outermost results read, counted from the edge.

    A map has as many: otherwise there would be no inner results.
    """
    # The last result reads up to u[outermost - 1 - P + taps - 1]; what a reflection mirrors has to
    # be there as well, up to u[P].
    last = max(outermost(found) + taps - 2 - found.reflected, found.reflected)
    return last // found.scale + 1


def _strip(edit: Edit, conv: Node, found: EnlargedMap, axis: int, end: str) -> list[Node]:
    """The outermost results of one side: pixels of x, enlarged, reflected, cut, convolved."""
    name = f"{conv.name}/{end}{axis}"
    taps = edit.graph.shapes[conv.inputs[1]][axis]
    size, read = edit.graph.shapes[found.source][axis], _pixels(found, taps)
    start = size - read if end == "last" else 0
    pixels = edit.part(f"{name}/pixels", found.source, axis, start, start + read)
    large = _enlarged(edit, f"{name}/large", pixels.outputs[0], found)
    pad = _reflected(edit, f"{name}/reflected", large.outputs[0], found, axis, end)
    # Whole pixels were enlarged: towards the middle there may be more than the results read.
    needed, held = outermost(found) + taps - 1, edit.shape(pad.outputs[0])[axis]
    start = held - needed if end == "last" else 0
    cut = edit.part(f"{name}/cut", pad.outputs[0], axis, start, start + needed)
    shape = list(edit.graph.shapes[conv.outputs[0]])
    shape[axis] = outermost(found)
    result = edit.value(f"{name}/results", tuple(shape))
    strip = replace(conv, name=name, inputs=(*cut.outputs, *conv.inputs[1:]), outputs=(result,))
    return [pixels, large, pad, cut, strip]


def _enlarged(edit: Edit, name: str, pixels: str, found: EnlargedMap) -> Node:
    """The pixels, enlarged as the whole map was."""
    n, channels, height, width = edit.shape(pixels)
    scales = edit.constant(f"{name}/scales", np.array([1, 1, found.scale, found.scale], np.float32))
    large = edit.value(name, (n, channels, height * found.scale, width * found.scale))
    # By scales, also where that Resize names sizes, which are the whole map's.
    resize = found.between[0]
    return replace(resize, name=name, inputs=(pixels, "", scales), outputs=(large,))


def _reflected(edit: Edit, name: str, large: str, found: EnlargedMap, axis: int, end: str) -> Node:
    """A strip, padded on all sides but the one towards the inner results."""
    widths = [0, 0, found.reflected, found.reflected] * 2
    widths[axis if end == "last" else axis + 4] = 0
    shape = (n + widths[i] + widths[i + 4] for i, n in enumerate(edit.shape(large)))
    padded = edit.value(name, tuple(shape))
    ends = edit.constant(f"{name}/widths", np.array(widths, np.int64))
    return node("Pad", name, [large, ends], [padded], mode="reflect")
