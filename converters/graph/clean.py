"""What no converter needs to see: dead code, operations that change nothing, sums of constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from converters.graph import decompose
from converters.graph.data_sizes import is_open, settle_sizes
from converters.graph.masks import put_back_in_place
from converters.graph.rules import ALWAYS
from converters.graph.sources import packet_of
from converters.graph.spectra import make_real

aten: Any = torch.ops.aten

FOLDED_ELEMENTS = 4096
"""What constants give is folded up to this size, or where it is no larger than what it reads."""


def clean(module: fx.GraphModule) -> None:
    """Leaves the operations that compute, each in a form that a converter may know."""
    drop_idle(module.graph)
    complete_pools(module.graph)
    decompose.unpack(module)
    module.graph.eliminate_dead_code(is_impure_node=_is_kept)
    put_back_in_place(module)
    view_as_reshape(module.graph)
    make_real(module)
    fold_constants(module)
    settle_sizes(module, ALWAYS[aten.index])
    decompose.decompose(module, ALWAYS)
    fold_constants(module)
    drop_idle(module.graph)
    view_as_reshape(module.graph)
    module.graph.eliminate_dead_code(is_impure_node=_is_kept)
    module.delete_all_unused_submodules()
    module.recompile()


def _is_kept(node: fx.Node) -> bool:
    return node.op in ("placeholder", "output")


def _same_type(node: fx.Node) -> bool:
    source: Any = node.args[0]
    kept: bool = source.meta["val"].dtype == node.meta["val"].dtype
    return kept


def _same_shape(node: fx.Node) -> bool:
    source: Any = node.args[0]
    kept: bool = source.meta["val"].shape == node.meta["val"].shape
    return kept


def _adds_nothing(node: fx.Node) -> bool:
    return not any(node.args[1])  # type: ignore[arg-type]


def _same_axes(node: fx.Node) -> bool:
    rank = node.meta["val"].ndim
    first, second = (int(axis) for axis in node.args[1:])  # type: ignore[arg-type]
    return bool(first % rank == second % rank)


def _always(node: fx.Node) -> bool:
    return True


def _not_training(place: int) -> Callable[[fx.Node], bool]:
    return lambda node: not (len(node.args) > place and node.args[place])


IDLE: dict[Any, Callable[[fx.Node], bool]] = {
    aten.alias: _always,
    aten.clone: _always,
    aten.contiguous: _always,
    aten.detach: _always,
    aten.lift: _always,
    aten.lift_fresh: _always,
    aten.lift_fresh_copy: _always,
    aten.positive: _always,
    aten.resolve_conj: _always,
    aten.resolve_neg: _always,
    aten.dropout: _not_training(2),
    aten.feature_dropout: _not_training(2),
    aten.alpha_dropout: _not_training(2),
    aten.feature_alpha_dropout: _not_training(2),
    aten.to: _same_type,
    aten._to_copy: _same_type,
    aten.type_as: _same_type,
    aten.expand: _same_shape,
    aten.expand_as: _same_shape,
    aten.view: _same_shape,
    aten.reshape: _same_shape,
    aten._unsafe_view: _same_shape,
    aten.flatten: _same_shape,
    aten.pad: _adds_nothing,
    aten.constant_pad_nd: _adds_nothing,
    aten.transpose: _same_axes,
    aten.squeeze: _same_shape,
}
"""Operation -> whether a node of it gives its first argument back."""

CHECKS = frozenset(
    {
        *(aten._assert_async, aten._assert_tensor_metadata, aten.sym_constrain_range),
        *(aten.sym_constrain_range_for_size, aten._assert_scalar),
    }
)
"""What only checks."""


def drop_idle(graph: fx.Graph) -> None:
    """Takes out what gives its argument back, and what only checks."""
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        packet = packet_of(node)
        if packet in CHECKS:
            graph.erase_node(node)
        elif packet not in IDLE or is_open(node) or not isinstance(node.args[0], fx.Node):
            continue
        elif IDLE[packet](node):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def view_as_reshape(graph: fx.Graph) -> None:
    """A view depends on how its argument lies in memory, which is nobody's business any more."""
    for node in graph.nodes:
        if packet_of(node) in (aten.view, aten._unsafe_view) and node.target is not aten.view.dtype:
            node.target = aten.reshape.default


POOLS = frozenset({aten.avg_pool2d, aten.max_pool2d, aten.max_pool2d_with_indices})


def complete_pools(graph: fx.Graph) -> None:
    """PyTorch takes `padding=[1]` for both axes; coremltools does not."""
    for node in graph.nodes:
        if packet_of(node) in POOLS:
            node.args = tuple(
                [*a, *a] if isinstance(a, (list, tuple)) and len(a) == 1 else a for a in node.args
            )


def fold_constants(module: fx.GraphModule) -> None:
    """Computes what depends on parameters and constants alone.

    What only repeats a number over a large area stays: it is smaller as it is.
    """
    graph = module.graph
    values: dict[fx.Node, Any] = {}
    for node in list(graph.nodes):
        if node.op == "get_attr":
            value = decompose.attribute(module, str(node.target))
            if isinstance(value, torch.Tensor):
                values[node] = value
        elif _is_foldable(node, values):
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            with torch.no_grad():
                values[node] = node.target(*args, **kwargs)
    for node in [n for n in values if n.op == "call_function"]:
        value = values[node]
        if not isinstance(value, torch.Tensor) or not any(u not in values for u in node.users):
            continue
        kept = value.detach().clone().contiguous()
        name = decompose.keep(module, "_folded", kept)
        with graph.inserting_before(node):
            constant = graph.get_attr(name)
        constant.meta = {**node.meta, "val": kept, MADE_OF: _made_of(module, node)}
        node.replace_all_uses_with(constant)
    for node in reversed([n for n in values if n.op == "call_function"]):
        if not node.users:
            graph.erase_node(node)


MADE_OF = "mlship_made_of"
"""Of a folded constant's node: the tensors that it was computed from, by name."""


def _made_of(module: fx.GraphModule, node: fx.Node) -> dict[str, torch.Tensor]:
    """The tensors that a node computes with, directly or not."""
    found: dict[str, torch.Tensor] = {}
    waiting, met = [node], {node}
    while waiting:
        one = waiting.pop()
        if one.op == "get_attr":
            name = str(one.target)
            found |= {name: decompose.attribute(module, name), **one.meta.get(MADE_OF, {})}
        new = [n for n in one.all_input_nodes if n not in met]
        met.update(new)
        waiting += new
    return found


def _is_foldable(node: fx.Node, values: dict[fx.Node, Any]) -> bool:
    if node.op != "call_function" or not all(n in values for n in node.all_input_nodes):
        return False
    if packet_of(node) in RANDOM:
        return False
    made = node.meta.get("val")
    if not isinstance(made, torch.Tensor):
        return True
    read = sum(values[n].numel() for n in node.all_input_nodes if torch.is_tensor(values[n]))
    return made.numel() <= max(FOLDED_ELEMENTS, read) or packet_of(node) not in REPEATING


RANDOM = frozenset(
    {aten.rand, aten.randn, aten.rand_like, aten.randn_like, aten.bernoulli, aten.normal}
    | {aten.randint, aten.multinomial, aten.randperm, aten.dropout}
)
REPEATING = frozenset(
    {aten.expand, aten.expand_as, aten.full, aten.full_like, aten.zeros, aten.ones}
    | {aten.zeros_like, aten.ones_like, aten.new_zeros, aten.new_ones, aten.new_full}
    | {aten.repeat, aten.tile, aten.broadcast_to}
)
"""What repeats numbers: a graph says it in fewer bytes than a constant."""
