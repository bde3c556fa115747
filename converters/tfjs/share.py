"""Constants that several operations read, stored once."""

from __future__ import annotations

from converters.lowering.tf import GraphDef


def shared(graph: GraphDef) -> GraphDef:
    """The graph with equal constants as one; all read the first of them."""
    first: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    result = GraphDef(versions=graph.versions)
    for node in graph.node:
        if node.op == "Const":
            held = node.attr["value"].SerializeToString(deterministic=True)
            renamed[node.name] = first.setdefault(held, node.name)
            if renamed[node.name] != node.name:
                continue
        kept = result.node.add()
        kept.CopyFrom(node)
        for index, name in enumerate(node.input):
            kept.input[index] = renamed.get(name, name)
    return result
