"""Where a convolution reads a map that was enlarged by nearest neighbour."""

from __future__ import annotations

from dataclasses import dataclass

from converters.lowering.graph import Graph, Node
from converters.lowering.rewrites.edit import Links
from converters.lowering.rewrites.nearest_as_concats import times


@dataclass(frozen=True)
class EnlargedMap:
    """The small map, how often each of its pixels is repeated, and the nodes up to the reader.

    `reflected` is the padding by reflection in between, `concat` what joins it with other maps.
    """

    source: str
    scale: int
    between: tuple[Node, ...]
    reflected: int = 0
    concat: Node | None = None

    @property
    def result(self) -> str:
        """The enlarged map."""
        return self.between[0].outputs[0]


def enlarged(links: Links, conv: Node) -> EnlargedMap | None:
    """What a convolution reads, if all between is there for it alone."""
    name = conv.inputs[0]
    maker = links.maker(name)
    if maker is None or not links.is_private(name):
        return None
    if maker.op == "Resize":
        return _resized(links, maker, ())
    if maker.op == "Concat" and maker.attributes["axis"] in (1, -3):
        return _joined(links, maker)
    # Zeros of the convolution's own lie around the reflected edge: of the two, the small map's
    # padding can say one only.
    if maker.op == "Pad" and not any(conv.attributes.get("pads", ())):
        width = _reflection(links.graph, maker)
        resize = links.maker(maker.inputs[0], "Resize")
        if width and resize is not None and links.is_private(maker.inputs[0]):
            return _resized(links, resize, (maker,), reflected=width)
    return None


def _resized(
    links: Links,
    resize: Node,
    then: tuple[Node, ...],
    reflected: int = 0,
    concat: Node | None = None,
) -> EnlargedMap | None:
    found = times(links.graph, resize)
    if found is None or found["down"] != found["right"]:
        return None
    return EnlargedMap(resize.inputs[0], found["down"], (resize, *then), reflected, concat)


def _joined(links: Links, concat: Node) -> EnlargedMap | None:
    """The enlarged map of the most channels among those that are joined."""
    found = []
    for name in concat.inputs:
        resize = links.maker(name, "Resize")
        if len(concat.inputs) > 1 and resize is not None and links.is_private(name):
            found.append(_resized(links, resize, (concat,), concat=concat))
    # The most channels save most; the rewrite runs again for what is left of the Concat.
    shapes = links.graph.shapes
    return max((f for f in found if f), key=lambda f: shapes[f.source][1], default=None)


def _reflection(graph: Graph, pad: Node) -> int:
    """By how much a map is padded by reflection, on all four sides alike; 0 for anything else."""
    widths = graph.constants.get(pad.inputs[1])
    if pad.attributes.get("mode") != "reflect" or widths is None or widths.size != 8:
        return 0
    width = int(widths[2])
    # ONNX lists what is added before on all axes, then what is added behind.
    return width if widths.tolist() == [0, 0, width, width] * 2 and width > 0 else 0
