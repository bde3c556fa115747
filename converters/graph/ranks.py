"""Core ML's tensors have five axes at most: what has more is computed on axes taken together.

A tensor in its order in memory is the same with fewer axes. So each operation on more than five is
written on (before, axis, behind) for each axis that it is about; between two of them nothing but
the shape changes, and the reshapes fall away.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from converters.graph import decompose
from converters.graph.captured import CapturedGraph
from converters.graph.decompose import Rule
from converters.graph.sources import operation_of, packet_of, user_line
from model_defs.errors import UnsupportedOperation

aten: Any = torch.ops.aten
MOST = 5


def with_five_axes(captured: CapturedGraph) -> CapturedGraph:
    """The same computation without tensors of more axes; this graph stays.

    Raises UnsupportedOperation with the user's line for an operation that is not known here.
    """
    if not any(_rank(node) > MOST for node in captured.graph.nodes):
        return captured
    module = captured.copied()
    _lower(module)
    return CapturedGraph(module)


def parts_of_five_axes(captured: CapturedGraph) -> CapturedGraph:
    """The same, with no part taken of a tensor of more axes; this graph stays.

    TFLite holds such tensors, and moves their axes, but cuts them nowhere.
    """

    def is_part(node: fx.Node) -> bool:
        return node.op == "call_function" and packet_of(node) in PARTS and _is_high(node)

    if not any(map(is_part, captured.graph.nodes)):
        return captured
    module = captured.copied()
    for node in list(module.graph.nodes):
        if is_part(node):
            decompose.replace(module, node, RULES[packet_of(node)])
    _tidy(module.graph)
    module.recompile()
    return CapturedGraph(module)


def _lower(module: fx.GraphModule) -> None:
    for node in list(module.graph.nodes):
        if node.op == "get_attr" and _rank(node) > MOST:
            _flatten_constant(module, node)
        if node.op != "call_function" or node.target is operator.getitem or not _is_high(node):
            continue
        if _is_reshape(node) or _is_theirs(node):
            continue
        rule = Rule(_pointwise(node.target)) if _is_pointwise(node) else RULES.get(packet_of(node))
        if rule is None:
            raise _refusal(node)
        decompose.replace(module, node, rule)
    _tidy(module.graph)
    for node in module.graph.nodes:
        if _rank(node) > MOST and not any(map(_is_theirs, (node, *node.users))):
            raise _refusal(node)
    module.recompile()


def _flatten_constant(module: fx.GraphModule, node: fx.Node) -> None:
    value = decompose.attribute(module, str(node.target))
    with module.graph.inserting_before(node):
        flat = module.graph.get_attr(decompose.keep(module, "_flat", value.reshape(-1)))
        whole = module.graph.call_function(aten.reshape.default, (flat, list(value.shape)))
    flat.meta = {**node.meta, "val": value.reshape(-1)}
    whole.meta = {**node.meta}
    node.replace_all_uses_with(whole)


def _rank(node: fx.Node) -> int:
    value = node.meta.get("val")
    return value.ndim if isinstance(value, Tensor) else 0


def _is_high(node: fx.Node) -> bool:
    return max(_rank(node), *(_rank(n) for n in node.all_input_nodes), 0) > MOST


def _is_reshape(node: fx.Node) -> bool:
    return packet_of(node) in (aten.reshape, aten.view, aten._unsafe_view)


def _is_theirs(node: fx.Node) -> bool:
    """A permutation between two reshapes, which coremltools takes apart by itself."""
    if packet_of(node) not in (aten.permute, aten.transpose) or len(node.users) != 1:
        return False
    (reader,) = node.users
    source: Any = node.args[0]
    ends = _is_reshape(source) and _is_reshape(reader) and _rank(reader) <= MOST
    return ends and len(source.users) == 1 and _rank(source.args[0]) <= MOST


def _is_pointwise(node: fx.Node) -> bool:
    if packet_of(node) is aten.to:
        return True
    return torch.Tag.pointwise in getattr(node.target, "tags", ())


def _refusal(node: fx.Node) -> UnsupportedOperation:
    if node.op in ("placeholder", "output"):
        what = f"'{node.name}' has {_rank(node)} axes"
    else:
        sizes = [n.meta["val"].shape for n in (node, *node.all_input_nodes) if _rank(n) > MOST]
        what = f"{operation_of(node)} of {len(sizes[0])} axes {tuple(sizes[0])}"
    return UnsupportedOperation(
        f"{what}: Core ML's tensors have {MOST} at most",
        where=user_line(node),
        do="reshape to fewer axes before it: those that stay side by side are one axis",
    )


def _tidy(graph: fx.Graph) -> None:
    """A reshape of a reshape is one; what nothing reads goes."""
    for node in graph.nodes:
        if _is_reshape(node):
            source = node.args[0]
            while _is_reshape(source) and not isinstance(source.args[1], torch.dtype):
                source = source.args[0]
            node.args = (source, *node.args[1:])
    graph.eliminate_dead_code(is_impure_node=lambda n: n.op in ("placeholder", "output"))


# --- what each operation does on fewer axes ------------------------------------------------------


def _pointwise(operation: Any) -> Any:
    """One by one: on axes that are all broadcast alike, taken together."""

    def run(*args: Any, **kwargs: Any) -> Any:
        tensors = [x for x in args if isinstance(x, Tensor)]
        shape = torch.broadcast_shapes(*(x.shape for x in tensors))
        full = [[1] * (len(shape) - x.ndim) + list(x.shape) for x in tensors]
        groups = _alike(shape, full)
        given = iter(
            x.reshape([math.prod(sizes[i] for i in group) for group in groups])
            for x, sizes in zip(tensors, full, strict=True)
        )
        return operation(
            *(next(given) if isinstance(x, Tensor) else x for x in args), **kwargs
        ).reshape(shape)

    return run


def _alike(shape: Sequence[int], full: list[list[int]]) -> list[list[int]]:
    """Neighbouring axes which all of these have, or have not."""
    groups: list[list[int]] = []
    last: list[bool] | None = None
    for axis, size in enumerate(shape):
        held = None if size == 1 else [sizes[axis] == size for sizes in full]
        if groups and (held is None or last is None or held == last):
            groups[-1].append(axis)
        else:
            groups.append([axis])
        last = held or last
    return groups


def _three(shape: Sequence[int], axis: int) -> list[int]:
    return [math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])]


def _axes(x: Tensor, dims: Any) -> list[int]:
    if dims is None or (isinstance(dims, (list, tuple)) and not dims):
        return list(range(x.ndim))
    return sorted(d % x.ndim for d in ([dims] if isinstance(dims, int) else dims))


def _with(shape: Sequence[int], axis: int, size: int) -> list[int]:
    return [*shape[:axis], size, *shape[axis + 1 :]]


def permute(x: Tensor, dims: Sequence[int]) -> Tensor:
    """Two blocks of axes are swapped, as often as it takes; what stays together is one axis."""
    order = [d % x.ndim for d in dims]
    wanted = [x.shape[d] for d in order]
    now = [d for d in range(x.ndim) if x.shape[d] != 1]
    order = [d for d in order if x.shape[d] != 1]
    size = {d: x.shape[d] for d in now}
    place = 0
    while now != order:
        if now[place] == order[place]:
            place += 1
            continue
        at, length = now.index(order[place]), 1
        while now[at : at + length + 1] == order[place : place + length + 1] and (
            at + length < len(now)
        ):
            length += 1
        blocks = [now[:place], now[place:at], now[at : at + length], now[at + length :]]
        x = x.reshape([math.prod(size[d] for d in block) for block in blocks]).permute(0, 2, 1, 3)
        now = [*blocks[0], *blocks[2], *blocks[1], *blocks[3]]
    return x.reshape(wanted)


def transpose(x: Tensor, one: int, other: int) -> Tensor:
    order = list(range(x.ndim))
    order[one], order[other] = order[other], order[one]
    return permute(x, order)


def flip(x: Tensor, dims: Any) -> Tensor:
    shape = list(x.shape)
    for axis in _axes(x, dims):
        x = x.reshape(_three(shape, axis)).flip(1)
    return x.reshape(shape)


def _reduced(operation: Any) -> Any:
    def run(x: Tensor, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Tensor:
        shape = list(x.shape)
        axes = _axes(x, dim)
        for axis in axes:
            x = operation(x.reshape(_three(shape, axis)), [1], True)
            shape = _with(shape, axis, 1)
        return x.reshape(shape if keepdim else [s for i, s in enumerate(shape) if i not in axes])

    return run


def _along(operation: Any) -> Any:
    """What keeps the shape, and works along an axis."""

    def run(x: Tensor, dim: int, *rest: Any, **kwargs: Any) -> Tensor:
        shape = x.shape
        made: Tensor = operation(x.reshape(_three(shape, dim % x.ndim)), 1, *rest, **kwargs)
        return made.reshape(shape)

    return run


def part(
    x: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    axis = dim % x.ndim
    count = len(range(x.shape[axis])[slice(start, end, step)])
    cut = aten.slice.Tensor(x.reshape(_three(x.shape, axis)), 1, start, end, step)
    made: Tensor = cut.reshape(_with(x.shape, axis, count))
    return made


def select(x: Tensor, dim: int, index: int) -> Tensor:
    axis = dim % x.ndim
    made = x.reshape(_three(x.shape, axis)).select(1, index % x.shape[axis])
    return made.reshape([s for i, s in enumerate(x.shape) if i != axis])


def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    return part(x, dim, start, start + length)


def _parted(operation: Any) -> Any:
    """chunk, split: the same along one axis of three."""

    def run(x: Tensor, sizes: Any, dim: int = 0) -> tuple[Tensor, ...]:
        axis = dim % x.ndim
        parts = operation(x.reshape(_three(x.shape, axis)), sizes, 1)
        return tuple(p.reshape(_with(x.shape, axis, p.shape[1])) for p in parts)

    return run


def unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    return tuple(select(x, dim, index) for index in range(x.shape[dim]))


def index_select(x: Tensor, dim: int, places: Tensor) -> Tensor:
    axis = dim % x.ndim
    taken = x.reshape(_three(x.shape, axis)).index_select(1, places)
    return taken.reshape(_with(x.shape, axis, taken.shape[1]))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    made = torch.nn.functional.linear(x.reshape(-1, x.shape[-1]), weight, bias)
    return made.reshape(*x.shape[:-1], weight.shape[0])


def layer_norm(x: Tensor, normalized_shape: Sequence[int], *rest: Any) -> Tensor:
    made: Tensor = aten.layer_norm(x.reshape(-1, *normalized_shape), normalized_shape, *rest)
    return made.reshape(x.shape)


def join(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    axis = dim % tensors[0].ndim
    whole = torch.cat([x.reshape(_three(x.shape, axis)) for x in tensors], 1)
    return whole.reshape(_with(tensors[0].shape, axis, sum(x.shape[axis] for x in tensors)))


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    axis = dim % (tensors[0].ndim + 1)
    shape = [*tensors[0].shape[:axis], 1, *tensors[0].shape[axis:]]
    return join([x.reshape(shape) for x in tensors], axis)


def expand(x: Tensor, size: Sequence[int], **_: Any) -> Tensor:
    shape = [1] * (len(size) - x.ndim) + list(x.shape)
    for axis, want in enumerate(size):
        if want not in (-1, shape[axis]):
            before, _one, behind = _three(shape, axis)
            x = x.reshape(before, 1, behind).expand(before, want, behind)
            shape = _with(shape, axis, want)
    return x.reshape(shape)


def _to_own_shape(operation: Any) -> Any:
    """squeeze, unsqueeze, flatten, unflatten: a reshape."""

    def run(x: Tensor, *args: Any) -> Tensor:
        return x.reshape(operation(torch.empty(x.shape, device="meta"), *args).shape)

    return run


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """Of equal batches, which are one axis."""
    shape = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x, y = (expand(t, [*shape, *t.shape[-2:]]) for t in (x, y))
    flat = [t.reshape(-1, *t.shape[-2:]) for t in (x, y)]
    return torch.matmul(*flat).reshape(*shape, x.shape[-2], y.shape[-1])


RULES: dict[Any, Rule] = {
    **{packet: Rule(_reduced(packet)) for packet in (aten.mean, aten.sum, aten.amax, aten.amin)},
    **{packet: Rule(_along(packet)) for packet in (aten.softmax, aten.log_softmax, aten.cumsum)},
    **{
        packet: Rule(_to_own_shape(packet))
        for packet in (aten.squeeze, aten.unsqueeze, aten.flatten, aten.unflatten)
    },
    **{
        packet: Rule(_parted(packet))
        for packet in (aten.chunk, aten.split, aten.split_with_sizes, aten.tensor_split)
    },
    aten.cat: Rule(join),
    aten.expand: Rule(expand),
    aten.flip: Rule(flip),
    aten.index_select: Rule(index_select),
    aten.layer_norm: Rule(layer_norm),
    aten.linear: Rule(linear),
    aten.matmul: Rule(matmul),
    aten.narrow: Rule(narrow),
    aten.permute: Rule(permute),
    aten.select: Rule(select),
    aten.slice: Rule(part),
    aten.stack: Rule(stack),
    aten.transpose: Rule(transpose),
    aten.unbind: Rule(unbind),
}
"""What is not computed one by one."""

PARTS = frozenset(
    {
        *(aten.chunk, aten.split, aten.split_with_sizes, aten.tensor_split, aten.unbind),
        *(aten.flip, aten.index_select, aten.narrow, aten.select, aten.slice),
    }
)
"""What takes some of a tensor's numbers, by their places."""
