"""Sizes that PyTorch left open: what constants settle is computed, what depends on data refused."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from converters.graph import decompose
from converters.graph.decompose import Rule
from converters.graph.sources import line_of_stack, operation_of, packet_of, user_line
from model_defs.errors import BadModule

aten: Any = torch.ops.aten

OPEN = "a tensor whose size depends on data, where a file has fixed sizes"
KEEP_ALL = (
    "keep all values: torch.where(mask, x, 0), x * mask, topk for the first so many; "
    "a mean is (x * mask).sum() / mask.sum()"
)


def settle_sizes(module: fx.GraphModule, index: Rule) -> None:
    """Gives each value the sizes that it has: masks that are constants let a known number through.

    Raises BadModule with the user's line for a mask, or the like, that depends on the inputs.
    """
    for node in list(module.graph.nodes):
        if node.op != "call_function" or not is_open(node):
            continue
        if decompose.applies({aten.index: index}, node):
            decompose.replace(module, node, index)
        elif torch.Tag.dynamic_output_shape in getattr(node.target, "tags", ()):
            raise _refusal(node)
        else:
            _settle(node)


def is_open(node: fx.Node) -> bool:
    """Whether a size of it, or the number that it is, is not known."""
    symbols = (torch.SymInt, torch.SymFloat, torch.SymBool)
    for value in tree_leaves(node.meta.get("val")):
        sizes = value.shape if isinstance(value, torch.Tensor) else (value,)
        if any(isinstance(size, symbols) for size in sizes):
            return True
    return False


def _refusal(node: fx.Node) -> BadModule:
    what = "x[mask]" if packet_of(node) is aten.index else operation_of(node)
    return BadModule(f"{what} makes {OPEN}", where=user_line(node), do=KEEP_ALL)


@contextlib.contextmanager
def guards_refused() -> Iterator[None]:
    """While PyTorch exports: what it says of a size that it would have to know, in our words."""
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    try:
        yield
    except GuardOnDataDependentSymNode as error:
        where = line_of_stack(traceback.extract_tb(error.__traceback__))
        raise BadModule(
            f"this needs to know the size of {OPEN}", where=where, do=KEEP_ALL
        ) from None


def _settle(node: fx.Node) -> None:
    """Its value of what its arguments are now; a number goes into its readers."""
    made = computed(node)
    if isinstance(made, (bool, int, float)):
        for reader in list(node.users):
            reader.args, reader.kwargs = fx.node.map_arg(
                (reader.args, reader.kwargs), lambda n: made if n is node else n
            )
    node.meta["val"] = made


def computed(node: fx.Node) -> Any:
    """What a node gives, without numbers, of what its arguments are now."""

    def empty(argument: fx.Node) -> Any:
        value = argument.meta["val"]
        if not isinstance(value, torch.Tensor):
            return value
        return torch.empty(value.shape, dtype=value.dtype, device="meta")

    args, kwargs = fx.node.map_arg((node.args, node.kwargs), empty)
    return node.target(*args, **kwargs)  # type: ignore[operator]
