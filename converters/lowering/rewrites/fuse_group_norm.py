"""Group normalisation as the exporter writes it."""

from __future__ import annotations

from dataclasses import dataclass

from converters.lowering.graph import Graph, Node
from converters.lowering.rewrites.edit import Edit, Links, node


@dataclass(frozen=True)
class FuseGroupNorm:
    """A group normalisation in the order in which the map lies, without merging its axes.

    Before: Reshape(InstanceNormalization(Reshape(x, (N, G, -1)), s, b), (N, C, H, W))
    After:  GroupNormalization(x, s for each channel, b for each channel), G groups

    Both take the mean and variance over C / G channels and all positions. For TFLite: on WASM
    one is as fast as the other. Blocked by a reshape to anything else, by computed factors, and
    by a value in between that something else reads.
    """

    name = "fuse-group-norm"

    def __call__(self, graph: Graph) -> Graph:
        links, edit = Links(graph), Edit(graph)
        for norm in graph.nodes:
            if norm.op == "InstanceNormalization" and (around := _around(links, norm)) is not None:
                edit.replace([around[0], norm, around[1]], [_fused(edit, norm, *around)])
        return edit.done()


def _around(links: Links, norm: Node) -> tuple[Node, Node] | None:
    """The reshapes before and after; None if it is not a group normalisation."""
    graph = links.graph
    before = links.maker(norm.inputs[0], "Reshape")
    after = links.reader(norm.outputs[0], "Reshape")
    if before is None or after is None or not links.is_private(norm.inputs[0]):
        return None
    if any(name not in graph.constants for name in norm.inputs[1:]):
        return None
    shape, grouped = graph.shapes[before.inputs[0]], graph.shapes[norm.inputs[0]]
    if graph.shapes[after.outputs[0]] != shape or len(shape) < 3 or len(grouped) != 3:
        return None
    # A reshape keeps the order of the numbers: each of the G rows is then C / G whole channels, one
    # behind the other, which is what a group is.
    return (before, after) if grouped[0] == shape[0] and shape[1] % grouped[1] == 0 else None


def _fused(edit: Edit, norm: Node, before: Node, after: Node) -> Node:
    channels, groups = (edit.graph.shapes[name][1] for name in (before.inputs[0], norm.inputs[0]))
    # The groups are the channels of the InstanceNormalization: its factor for one of them holds for
    # all C / G channels in it.
    factors = [
        edit.constant(f"{norm.name}/{index}", edit.graph.constants[name].repeat(channels // groups))
        for index, name in enumerate(norm.inputs[1:], 1)
    ]
    epsilon = norm.attributes.get("epsilon", 1e-5)
    inputs = [before.inputs[0], *factors]
    return node(
        "GroupNormalization", norm.name, inputs, after.outputs, num_groups=groups, epsilon=epsilon
    )
