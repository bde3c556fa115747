"""Operations that write into their argument, as ones that do not."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx


def mutates(node: fx.Node) -> bool:
    """Whether an operation writes into an argument."""
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and schema is not None and bool(schema.is_mutable)


def views(node: fx.Node) -> fx.Node | None:
    """What an operation's result may share its memory with, where it only looks at it."""
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None:
        return None
    for argument, value in zip(schema.arguments, node.args, strict=False):
        alias = argument.alias_info
        if alias is not None and isinstance(value, fx.Node):
            return value
    return None


def needs_pytorch(graph: fx.Graph) -> bool:
    """Whether only PyTorch's own functionalization will do: a view is written into, or a part
    of the graph lies in another one."""
    for node in graph.nodes:
        if node.op == "call_function" and isinstance(node.target, torch._ops.HigherOrderOperator):
            return True
        if mutates(node) and not _is_plain(node):
            return True
    return False


def _is_plain(node: fx.Node) -> bool:
    """Whether it writes into a whole tensor that an operation made and that nothing else sees
    under another name."""
    written = node.args[0] if node.args else None
    if not isinstance(written, fx.Node) or written.op != "call_function":
        return False
    if _replacement(node) is None:
        return False
    if views(written) is not None and not mutates(written):
        return False
    root: fx.Node | None = written
    while root is not None:
        if any(views(user) is root and not mutates(user) for user in root.users):
            return False
        root = views(root) if mutates(root) else None
    return True


def make_functional(graph: fx.Graph) -> None:
    """Puts `relu` in the place of `relu_`, in a graph that does not need PyTorch for it."""
    for node in graph.nodes:
        if not mutates(node):
            continue
        target = _replacement(node)
        assert target is not None
        written: Any = node.args[0]
        node.target = target
        later = [user for user in written.users if user is not node and _after(node, user)]
        for user in later:
            user.replace_input_with(written, node)


def _after(node: fx.Node, user: fx.Node) -> bool:
    return node < user


def _replacement(node: fx.Node) -> Any:
    """The operation that makes a new tensor of what this one writes."""
    target: Any = node.target
    packet = target.overloadpacket
    name = packet.__name__
    if not name.endswith("_") or not hasattr(torch.ops.aten, name[:-1]):
        return None
    return getattr(getattr(torch.ops.aten, name[:-1]), target._overloadname, None)
