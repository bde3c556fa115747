"""Rewrites of the ONNX graph before it is lowered, each for the targets that profit."""

from __future__ import annotations

from converters.lowering.call import Target
from converters.lowering.graph import Graph


def rewritten(graph: Graph, target: Target) -> Graph:
    """The graph after the target's rewrites, in their order."""
    return graph
