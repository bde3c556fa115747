"""`x[mask] += y`: numbers taken out by a mask, changed one by one and put back in their places."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from converters.graph.data_sizes import computed
from converters.graph.sources import packet_of

aten: Any = torch.ops.aten


def put_back_in_place(module: fx.GraphModule) -> None:
    """Computes with the whole tensor, and keeps the result where the mask holds.

    How many numbers a mask lets through is not known before it runs, so that no converter can
    hold them alone; where they come back to where they were, nobody has to know.
    """
    for taken in list(module.graph.nodes):
        if not _is_masked(taken, aten.index):
            continue
        between = _until_put(taken)
        if between is None:
            continue
        taken.replace_all_uses_with(taken.args[0])
        for node in between:
            node.meta["val"] = computed(node)
        module.graph.erase_node(taken)


def _is_masked(node: fx.Node, operation: Any) -> bool:
    """Whether its one index is a mask."""
    if packet_of(node) is not operation:
        return False
    indices: Any = node.args[1]
    return len(indices) == 1 and indices[0].meta["val"].dtype is torch.bool


def _until_put(taken: fx.Node) -> list[fx.Node] | None:
    """What is computed of the numbers until all are put back by the same mask, or None."""
    found: list[fx.Node] = []
    waiting = list(taken.users)
    while waiting:
        node = waiting.pop()
        if _is_masked(node, aten.index_put):
            same = _alike(node.args[:2], taken.args[:2]) and node.args[0] is not taken
            if not same or len(node.args) > 3:
                return None
        elif torch.Tag.pointwise not in getattr(node.target, "tags", ()):
            return None
        elif node not in found:
            found.append(node)
            waiting += node.users
    return sorted(found)


def _alike(one: Any, other: Any) -> bool:
    """Whether they are the same value, or computed alike, as `x > 0` that stands twice is."""
    if isinstance(one, (list, tuple)):
        same = isinstance(other, (list, tuple)) and len(one) == len(other)
        return same and all(map(_alike, one, other))
    if not isinstance(one, fx.Node) or not isinstance(other, fx.Node):
        return bool(one == other)
    if one is other:
        return True
    if one.op != "call_function" or one.target is not other.target or one.kwargs or other.kwargs:
        return False
    return torch.Tag.pointwise in getattr(one.target, "tags", ()) and _alike(one.args, other.args)
