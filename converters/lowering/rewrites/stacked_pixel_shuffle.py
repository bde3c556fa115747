"""Pixel shuffles of stacked maps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from converters.lowering.graph import Graph, Node
from converters.lowering.rewrites.edit import Edit, Links, node, with_attributes


@dataclass(frozen=True)
class StackedPixelShuffle:
    """Joins maps along the channels, where they already lie, instead of along a new axis.

    Before: DepthToSpace_CRD(Reshape(Concat_2(Unsqueeze_2(a), Unsqueeze_2(b), ...)))
    After:  DepthToSpace_DCR(Concat_1(a, b, ...))

    CRD reads channel c of phase p at c * phases + p, which is where the reshape of the stack
    puts it; DCR reads it at p * channels + c, which is where the concatenation puts it. Blocked
    by a value in between that something else reads, and by another number of maps than phases.
    """

    name = "stacked-pixel-shuffle"

    def __call__(self, graph: Graph) -> Graph:
        links, edit = Links(graph), Edit(graph)
        for shuffle in graph.nodes:
            if shuffle.op != "DepthToSpace" or shuffle.attributes.get("mode") != "CRD":
                continue
            if (chain := _stack(links, shuffle)) is not None:
                maps, stack = chain
                edit.replace([*stack, shuffle], _joined(edit, shuffle, maps))
        return edit.done()


def _stack(links: Links, shuffle: Node) -> tuple[list[str], list[Node]] | None:
    """The maps that are stacked, and the nodes that stack them."""
    shapes = links.graph.shapes
    reshape = links.maker(shuffle.inputs[0], "Reshape")
    concat = links.maker(reshape.inputs[0], "Concat") if reshape else None
    if reshape is None or concat is None or concat.attributes["axis"] != 2:
        return None
    # A Reshape can do what an Unsqueeze does: whether it does, the shapes below say.
    unsqueezes = [links.maker(name, "Unsqueeze", "Reshape") for name in concat.inputs]
    between = [*concat.inputs, concat.outputs[0], reshape.outputs[0]]
    if not all(links.is_private(name) for name in between):
        return None
    # Only with one map for each phase is the number of a map that of a phase.
    if len(unsqueezes) != shuffle.attributes["blocksize"] ** 2:
        return None
    maps = []
    for unsqueeze in unsqueezes:
        if unsqueeze is None:
            return None
        n, channels, *spatial = shapes[unsqueeze.inputs[0]]
        if shapes[unsqueeze.outputs[0]] != (n, channels, 1, *spatial):
            return None
        maps.append(unsqueeze.inputs[0])
    # Channels and phases alone may be merged, or channel c of map p is not at c * phases + p.
    _, channels, phases, *spatial = shapes[concat.outputs[0]]
    if shapes[reshape.outputs[0]][1:] != (channels * phases, *spatial):
        return None
    return maps, [*(u for u in unsqueezes if u is not None), concat, reshape]


def _joined(edit: Edit, shuffle: Node, maps: list[str]) -> list[Node]:
    name = edit.value(f"{shuffle.name}/joined", edit.graph.shapes[shuffle.inputs[0]])
    return [
        node("Concat", f"{shuffle.name}/join", maps, [name], axis=1),
        with_attributes(replace(shuffle, inputs=(name,)), mode="DCR"),
    ]
