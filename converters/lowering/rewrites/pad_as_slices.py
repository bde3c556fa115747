"""Padding with an input's own elements."""

from __future__ import annotations

from dataclasses import dataclass

from converters.lowering.graph import Graph, Node
from converters.lowering.rewrites.edit import Edit, node

PLACES = {
    "reflect": lambda place, size: abs(place) if place < size else 2 * (size - 1) - place,
    "edge": lambda place, size: min(max(place, 0), size - 1),
    "wrap": lambda place, size: place % size,
}
"""Which element of an axis of some size stands at a place outside of it."""


@dataclass(frozen=True)
class PadAsSlices:
    """Takes the elements that padding repeats as slices and concatenates them.

    Before: Pad(x, [0, 0, 1, 0, 0, 0, 1, 0]), mode reflect, x (N, C, H, W)
    After:  Concat(Slice(x, row 1), x, Slice(x, row H - 2)) along the rows

    XNNPACK runs slices and concatenations, MIRROR_PAD it leaves to LiteRT; on WASM a MirrorPad
    is faster, so that TF.js asks for the other modes only, which TensorFlow does not have.
    Blocked by widths that are computed or negative, and by a reflection beyond the input.
    """

    modes: tuple[str, ...] = ("reflect", "edge", "wrap")
    name = "pad-as-slices"

    def __call__(self, graph: Graph) -> Graph:
        edit = Edit(graph)
        for pad in graph.nodes:
            if pad.op == "Pad" and pad.attributes.get("mode") in self.modes:
                widths = _widths(graph, pad)
                if widths is not None:
                    edit.replace([pad], _slices(edit, pad, widths))
        return edit.done()


def _widths(graph: Graph, pad: Node) -> list[tuple[int, int]] | None:
    """(before, after) for each axis; None where the rewrite is blocked."""
    shape = graph.shapes[pad.inputs[0]]
    named = graph.constants.get(pad.inputs[1])
    # A fourth input names axes, and the widths are of those alone.
    if named is None or (len(pad.inputs) > 3 and pad.inputs[3]):
        return None
    flat = [int(n) for n in named]
    widths = list(zip(flat[: len(shape)], flat[len(shape) :], strict=True))
    if min(flat) < 0 or max(flat) == 0:
        return None
    # PLACES mirrors once; what lies further out would have to be mirrored back and forth.
    beyond = any(max(pair) >= size for pair, size in zip(widths, shape, strict=True))
    return None if beyond and pad.attributes["mode"] == "reflect" else widths


def _slices(edit: Edit, pad: Node, widths: list[tuple[int, int]]) -> list[Node]:
    """The axes one after the other, the last of them making the result of the Pad."""
    nodes: list[Node] = []
    source, shape = pad.inputs[0], edit.graph.shapes[pad.inputs[0]]
    kind = edit.graph.types[source]
    padded = [axis for axis, pair in enumerate(widths) if any(pair)]
    # Each axis pads what those before it have made, which fills the corners as well.
    for axis in padded:
        before, after = widths[axis]
        size, place = shape[axis], PLACES[pad.attributes["mode"]]
        head = [place(i, size) for i in range(-before, 0)]
        tail = [place(i, size) for i in range(size, size + after)]
        prefix = f"{pad.name}/axis{axis}"
        # One slice for each element and not one for all: a reflection runs backwards, which a
        # slice does not. A row that repeats is cut once.
        rows = {i: edit.part(f"{prefix}/row{i}", source, axis, i, i + 1) for i in head + tail}
        shape = (*shape[:axis], size + before + after, *shape[axis + 1 :])
        last = axis == padded[-1]
        result = pad.outputs[0] if last else edit.value(prefix, shape, kind)
        names = [rows[i].outputs[0] for i in head], [rows[i].outputs[0] for i in tail]
        parts = [*names[0], source, *names[1]]
        nodes += rows.values()
        nodes.append(node("Concat", f"{pad.name}/join{axis}", parts, [result], axis=axis))
        source = result
    return nodes
