"""Convolutions of maps that were enlarged by nearest neighbour."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from converters.lowering.graph import Graph, Node
from converters.lowering.phases import Phases
from converters.lowering.rewrites.edit import Edit, Links, node
from converters.lowering.rewrites.enlarged import EnlargedMap, enlarged
from converters.lowering.rewrites.reflected_frame import framed, outermost

FUSED = ("Relu", "Elu")
PER_RESULT = 100
"""Multiply-adds that a result has to save, since joining the phases moves it once or twice."""


@dataclass(frozen=True)
class ConvOfNearest:
    """Convolves the small map, with one small kernel for each phase of the result.

    Before: Conv(Resize(x), w, b), x enlarged s times by nearest neighbour
    After:  ConvOfNearest(x, w, b)

    Each phase's kernel holds sums of w's taps (`phases.Phases` has the proof): for s = 2 and a
    kernel of 3, 2 x 2 taps do the work of 3 x 3; for 5 it is 3 x 3, for 7 it is 4 x 4. Equal in
    real numbers; in float32 the sums are rounded, as every sum is. A Relu or Elu goes in.

    A map that is joined with others is convolved alone, and the results are added:
    Conv(Concat(u, Resize(x)), w) = Conv(u, w_u) + ConvOfNearest(x, w_x).

    A reflection of the enlarged map by less than s repeats the edge of x. One by more repeats no
    whole pixels of x: the outermost results are computed as before (`reflected_frame`).

    Blocked by a kernel that is computed, grouped, dilated or has strides, by an enlargement by
    anything but the same whole number in both directions, by an enlarged map that something else
    reads, by a result whose rows are not whole groups of s, and where it does not pay:
    PER_RESULT, and `per_weight` multiply-adds saved for each number by which the kernel grows
    (TFLite stores them, TF.js sums them up in every run).
    """

    per_weight: int
    name = "conv-of-nearest"

    def __call__(self, graph: Graph) -> Graph:
        links, edit = Links(graph), Edit(graph)
        for conv in graph.nodes:
            if conv.op == "Conv" and _is_plain(graph, conv):
                found = enlarged(links, conv)
                if found is not None and self._pays(graph, conv, found):
                    _rewrite(edit, links, conv, found)
        result = edit.done()
        return graph if result is graph else self(result)  # the next of several that are joined

    def _pays(self, graph: Graph, conv: Node, found: EnlargedMap) -> bool:
        pads = _pads(conv, found)
        kernel, edge = graph.shapes[conv.inputs[1]][2:], 2 * bool(found.reflected)
        rows, columns = (
            Phases(size + edge, found.scale, taps, *ends)
            for size, taps, ends in zip(graph.shapes[found.source][2:], kernel, pads, strict=True)
        )
        before, after = kernel[0] * kernel[1], rows.reach * columns.reach
        kept = before if outermost(found) else 0
        more = found.scale**2 * after - before + kept
        saved = (before - after) * rows.results * columns.results
        return (
            min(rows.results, columns.results) >= found.scale
            and rows.results % found.scale == 0
            and (before - after) * graph.shapes[found.source][1] >= PER_RESULT
            and saved >= self.per_weight * more
        )


def _is_plain(graph: Graph, conv: Node) -> bool:
    """Dense, of stride 1, not dilated, with a constant kernel."""
    a = conv.attributes
    return (
        len(graph.shapes[conv.inputs[1]]) == 4
        and all(name in graph.constants for name in conv.inputs[1:] if name)
        and a.get("group", 1) == 1
        and max(*a.get("strides", [1]), *a.get("dilations", [1]), 1) == 1
        and a.get("auto_pad", "NOTSET") == "NOTSET"
        and min(a.get("pads", [0])) >= 0
    )


def _pads(conv: Node, found: EnlargedMap) -> tuple[tuple[int, int], ...]:
    """(before, after) of rows and columns: what is added to the small map, enlarged.

    A reflected map has got one more edge by then, of which `scale - width` are too many.
    """
    if found.reflected:
        # The edge that `_phases` adds is a whole pixel of x, scale results wide: a reflection by
        # less is that pixel cropped, hence a width of 0 or below.
        width = found.reflected - outermost(found) - found.scale
        return ((width, width),) * 2
    top, left, bottom, right = conv.attributes.get("pads", [0] * 4)
    return (top, bottom), (left, right)


def _rewrite(edit: Edit, links: Links, conv: Node, found: EnlargedMap) -> None:
    """Nodes in place of the convolution and of what enlarges for it."""
    if found.concat is not None:
        edit.replace([*found.between, conv], _split(edit, conv, found, found.concat))
    elif outermost(found):
        inner = _inner(edit, conv, found)
        new = [*_phases(edit, conv, found, inner), *framed(edit, conv, found, inner)]
        edit.replace([*found.between, conv], new)
    else:
        activation = links.reader(conv.outputs[0], *FUSED)
        # An activation before the phases are joined costs the same, and saves a pass over the
        # large map; TensorFlow's Elu knows no other alpha than 1.
        if activation is None or activation.attributes.get("alpha", 1.0) != 1:
            new = _phases(edit, conv, found, conv.outputs[0])
            edit.replace([*found.between, conv], new)
        else:
            new = _phases(edit, conv, found, activation.outputs[0], activation.op)
            edit.replace([*found.between, conv, activation], new)


def _inner(edit: Edit, conv: Node, found: EnlargedMap) -> str:
    """The name of the results that the frame goes around."""
    *maps, height, width = edit.graph.shapes[conv.outputs[0]]
    frame = 2 * outermost(found)
    return edit.value(f"{conv.name}/inner", (*maps, height - frame, width - frame))


def _phases(
    edit: Edit, conv: Node, found: EnlargedMap, result: str, activation: str = ""
) -> list[Node]:
    """The convolution over the small map, which a reflection pads with its own edge."""
    source, nodes = found.source, []
    if found.reflected:
        n, c, h, w = edit.graph.shapes[source]
        source = edit.value(f"{conv.name}/edge", (n, c, h + 2, w + 2))
        widths = edit.constant(f"{conv.name}/widths", np.array([0, 0, 1, 1] * 2, np.int64))
        pad = node("Pad", f"{conv.name}/pad", [found.source, widths], [source], mode="edge")
        nodes.append(pad)
    inputs = [source, *conv.inputs[1:]]
    name = conv.name if not outermost(found) else f"{conv.name}/phases"
    attributes = {"scale": found.scale, "pads": _pads(conv, found), "activation": activation}
    return [*nodes, node("ConvOfNearest", name, inputs, [result], **attributes)]


def _split(edit: Edit, conv: Node, found: EnlargedMap, concat: Node) -> list[Node]:
    """The convolution of the enlarged map, that of all others with the bias, and their sum."""
    shape, weight = edit.graph.shapes[conv.outputs[0]], edit.graph.constants[conv.inputs[1]]
    place = concat.inputs.index(found.result)
    ends = np.cumsum([edit.graph.shapes[name][1] for name in concat.inputs])
    start, end = ends[place] - edit.graph.shapes[found.source][1], ends[place]
    # A convolution is linear in its channels, so that the kernel may be cut along them. The bias
    # goes with one of the two parts only, since they are added.
    own = edit.constant(f"{conv.name}/enlarged", weight[:, start:end])
    rest = edit.constant(f"{conv.name}/others", np.delete(weight, slice(start, end), 1))
    size, nodes = edit.graph.shapes[concat.outputs[0]][2:], []
    parts = [edit.value(f"{conv.name}/part{i}", shape) for i in range(2)]
    others = [name for name in concat.inputs if name != found.result]
    if len(others) > 1:
        joined = edit.value(f"{conv.name}/joined", (shape[0], len(edit.constants[rest][0]), *size))
        nodes, others = [replace(concat, inputs=tuple(others), outputs=(joined,))], [joined]
    return [
        *nodes,
        replace(
            conv,
            name=f"{conv.name}/beside",
            inputs=(*others, rest, *conv.inputs[2:]),
            outputs=(parts[0],),
        ),
        *_phases(edit, replace(conv, inputs=(conv.inputs[0], own)), found, parts[1]),
        node("Add", f"{conv.name}/sum", parts, conv.outputs),
    ]
