"""Pixel shuffles of a convolution."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from converters.lowering.graph import Graph, Node
from converters.lowering.rewrites.edit import Edit, Links, with_attributes


@dataclass(frozen=True)
class PixelShuffleOfConv:
    """Orders a convolution's filters as TensorFlow's depth_to_space reads channels.

    Before: DepthToSpace_CRD(Conv(x, w, b))
    After:  DepthToSpace_DCR(Conv(x, w', b')), w'[p * channels + c] = w[c * phases + p]

    Blocked by a grouped convolution, whose filters cannot change places, by weights that are
    computed, and by anything else that reads the convolution's result.
    """

    name = "pixel-shuffle-of-conv"

    def __call__(self, graph: Graph) -> Graph:
        links, edit = Links(graph), Edit(graph)
        for shuffle in graph.nodes:
            if shuffle.op != "DepthToSpace" or shuffle.attributes.get("mode") != "CRD":
                continue
            conv = links.maker(shuffle.inputs[0], "Conv")
            if conv is not None and _may_be_reordered(links, conv):
                edit.replace([conv, shuffle], _reordered(edit, conv, shuffle))
        return edit.done()


def _may_be_reordered(links: Links, conv: Node) -> bool:
    return (
        # Any other reader would find the channels in their new places.
        links.is_private(conv.outputs[0])
        and conv.attributes.get("group", 1) == 1
        and all(name in links.graph.constants for name in conv.inputs[1:])
    )


def _reordered(edit: Edit, conv: Node, shuffle: Node) -> list[Node]:
    block = shuffle.attributes["blocksize"]
    filters = edit.graph.shapes[conv.outputs[0]][1]
    # Constants change places once, while converting; the lowering of CRD gathers the channels of
    # the map in every run.
    order = np.arange(filters).reshape(-1, block * block).T.reshape(-1)
    named = [
        edit.constant(f"{conv.name}/{index}", edit.graph.constants[name][order])
        for index, name in enumerate(conv.inputs[1:], 1)
    ]
    return [
        replace(conv, inputs=(conv.inputs[0], *named)),
        with_attributes(shuffle, mode="DCR"),
    ]
