"""Operations of a graph, replaced by others that compute the same."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from converters.graph.sources import operation_of, packet_of, user_line, working_on
from model_defs.errors import UnsupportedOperation

aten: Any = torch.ops.aten


@dataclass(frozen=True)
class Rule:
    """`run` takes an operation's arguments and gives what it gives; `when` says which nodes it
    is for (tracing it takes 20 ms). Places and masks that are constants are handed to it as
    arrays of NumPy where it computes `on_places`."""

    run: Callable[..., Any]
    when: Callable[[fx.Node], bool] = lambda node: True
    on_places: bool = False


def decompose(module: fx.GraphModule, rules: Mapping[Any, Rule]) -> None:
    """Replaces each node whose operation has a rule for it, until there is none."""
    waiting = [n for n in module.graph.nodes if n.op == "call_function"]
    while waiting:
        node = waiting.pop(0)
        with working_on(node):
            if applies(rules, node):
                waiting = [*replace(module, node, rules[packet_of(node)]), *waiting]


def applies(rules: Mapping[Any, Rule], node: fx.Node) -> bool:
    """Whether there is a rule for a node."""
    rule = rules.get(packet_of(node))
    return rule is not None and rule.when(node)


def replace(module: fx.GraphModule, node: fx.Node, rule: Rule) -> list[fx.Node]:
    """Writes what a rule makes of a node in its place; the nodes of it."""
    leaves, structure = tree_flatten((tuple(node.args), dict(node.kwargs)))
    if rule.on_places:
        leaves = [_place(module, leaf) for leaf in leaves]
    given = [leaf for leaf in leaves if isinstance(leaf, fx.Node)]

    def run(*tensors: Tensor) -> Any:
        rest = iter(tensors)
        filled = [next(rest) if isinstance(leaf, fx.Node) else leaf for leaf in leaves]
        args, kwargs = tree_unflatten(filled, structure)
        return rule.run(*args, **kwargs)

    made, result = copied(module, node, run, given)
    _replace(node, result)
    if not node.users:
        module.graph.erase_node(node)
    last = [n for n in made if n.users and n.op == "call_function"][-1:]
    if isinstance(result, fx.Node) and last == [result]:
        result._rename(node.name)  # what is read of it is still called what it was
    return made


def _place(module: fx.GraphModule, leaf: Any) -> Any:
    """The array of a constant of whole numbers or truth values; anything else as it is."""
    if isinstance(leaf, fx.Node) and leaf.op == "get_attr":
        value = leaf.meta["val"]
        if value.dtype in (torch.int64, torch.int32, torch.bool):
            return attribute(module, str(leaf.target)).numpy()
    return leaf


def copied(
    module: fx.GraphModule, node: fx.Node, run: Callable[..., Any], given: list[fx.Node]
) -> tuple[list[fx.Node], Any]:
    """What a function of some values computes, written before a node; what it gives.

    The node's line and its module stay.
    """
    examples = [torch.empty(n.meta["val"].shape, dtype=n.meta["val"].dtype) for n in given]
    with torch.no_grad():
        traced = make_fx(run, tracing_mode="fake", pre_dispatch=True)(*examples)
    graph = module.graph
    known: dict[fx.Node, Any] = {}
    places = iter(given)
    made: list[fx.Node] = []
    result: Any = None
    kept = {k: node.meta[k] for k in ("stack_trace", "nn_module_stack") if k in node.meta}
    with graph.inserting_before(node):
        for inner in traced.graph.nodes:
            if inner.op == "placeholder":
                known[inner] = next(places)
            elif inner.op == "get_attr":
                value = getattr(traced, str(inner.target)).detach()
                name = keep(module, "_part", value)
                known[inner] = graph.get_attr(name)
                known[inner].meta = {**kept, "val": value}
            elif inner.op == "output":
                result = fx.node.map_arg(inner.args[0], known.__getitem__)
            else:
                known[inner] = graph.node_copy(inner, known.__getitem__)
                known[inner].meta = {"val": inner.meta.get("val"), **kept}
                made.append(known[inner])
    return made, result


def attribute(module: nn.Module, target: str) -> Tensor:
    """The tensor at a path in a module."""
    value: Any = module
    for part in target.split("."):
        value = getattr(value, part)
    found: Tensor = value
    return found


def keep(module: fx.GraphModule, stem: str, value: Tensor) -> str:
    """Makes a tensor a buffer of the module, under a free name, which is returned."""
    number = 0
    while hasattr(module, f"{stem}_{number}"):
        number += 1
    module.register_buffer(f"{stem}_{number}", value)
    return f"{stem}_{number}"


def _replace(node: fx.Node, result: Any) -> None:
    if isinstance(result, fx.Node):
        node.replace_all_uses_with(result)
        return
    for user in list(node.users):
        assert user.target is operator.getitem, f"{node} is read as a whole"
        part = result[user.args[1]]
        if part is None and user.users:
            raise UnsupportedOperation(
                f"{operation_of(node)}: the places of what it finds are not computed here",
                where=user_line(node),
                do="take the values alone, without return_indices, or use argmax",
            )
        if part is not None:
            user.replace_all_uses_with(part)
        node.graph.erase_node(user)


def unpack(module: fx.GraphModule) -> None:
    """Puts batch_norm back where functionalization has split it into a tuple."""
    for node in list(module.graph.nodes):
        if packet_of(node) is aten._native_batch_norm_legit_no_training:
            x, weight, bias, mean, variance, momentum, eps = node.args
            with module.graph.inserting_before(node):
                whole = module.graph.call_function(
                    aten.batch_norm.default,
                    (x, weight, bias, mean, variance, False, momentum, eps, False),
                )
            whole.meta = {**node.meta, "val": x.meta["val"]}
            for user in list(node.users):
                user.replace_all_uses_with(whole)
                module.graph.erase_node(user)
            module.graph.erase_node(node)
