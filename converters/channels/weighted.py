"""Operations that multiply and add: convolutions, matrix products, attention."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from converters.channels.labels import Args, LabelGraph, Labels, fixed

Found = tuple[list[Labels] | None, Labels]
"""The results' labels, and what the multiply-adds are a product of."""


def _convolved(graph: LabelGraph, args: Args, results: list[Tensor]) -> Found:
    """Of (N, C, ...) with a kernel (O, I / groups, ...), or transposed (I, O / groups, ...)."""
    given, kernel, bias = args[:3]
    transposed, groups = bool(args[6]), int(args[8])
    batch, channels, *places = graph.of(given)
    graph.keep(batch, *places, *graph.of(kernel)[2:])
    first, second = graph.of(kernel)[:2]
    # With groups, a kernel's second dimension counts within one group: the same place of every
    # group has to go, or the groups would differ in size. Depthwise, each channel is a group.
    if groups == 1:
        inputs, outputs = (first, second) if transposed else (second, first)
        graph.link(channels, inputs)
    elif len(second) == 1 and len(channels) == groups:
        graph.link(np.repeat(channels, len(first) // groups), first)
        outputs = first
    elif transposed:
        graph.link(channels, first)
        _alike(graph, first.reshape(groups, -1))
        outputs = np.tile(second, groups)
    else:
        graph.link(channels.reshape(groups, -1), second)
        _alike(graph, first.reshape(groups, -1))
        outputs = first
    if isinstance(bias, Tensor):
        graph.link(graph.of(bias)[0], outputs)
    made = (batch, outputs, *fixed(results[0].shape[2:]))
    work = (batch, channels, *places) if transposed else made
    return [made], (*work, *graph.of(kernel)[1:])


def _alike(graph: LabelGraph, rows: np.ndarray) -> None:
    """Groups of channels, one a row, shrink at the same places."""
    graph.link(rows, rows[:1])


def _multiplied(graph: LabelGraph, args: Args, results: list[Tensor]) -> Found:
    """(..., N, K) by (..., K, M); what is before is the same on both sides."""
    *batch, rows, inner = graph.of(args[0])
    *others, other, columns = graph.of(args[1])
    graph.link(inner, other)
    before = graph.beside([tuple(batch), tuple(others)]) if batch else ()
    return [(*before, rows, columns)], (*before, rows, columns, inner)


def _multiplied_and_added(graph: LabelGraph, args: Args, results: list[Tensor]) -> Found:
    found, work = _multiplied(graph, args[1:], results)
    assert found is not None
    return [graph.beside([found[0], graph.of(args[0])])], work


def _linear(graph: LabelGraph, args: Args, results: list[Tensor]) -> Found:
    """(..., I) by a weight (O, I), and a bias (O)."""
    *batch, inner = graph.of(args[0])
    outputs, inputs = graph.of(args[1])
    graph.link(inner, inputs)
    if len(args) > 2 and isinstance(args[2], Tensor):
        graph.link(graph.of(args[2])[0], outputs)
    return [(*batch, outputs)], (*batch, outputs, inputs)


def _attended(graph: LabelGraph, args: Args, results: list[Tensor]) -> Found:
    """Queries (..., L, E), keys (..., S, E), values (..., S, V) -> (..., L, V).

    The scale is made from E, which must therefore stay.
    """
    queries, keys, values = map(graph.of, args[:3])
    graph.keep(*queries[-2:], *keys[-2:], values[-2], values[-1])
    graph.keep(*(each for labels in (queries, keys, values) for each in labels[:-2]))
    twice = np.zeros(2, np.int64)  # queries by keys, then by values as wide
    return [fixed(results[0].shape)], (*queries, keys[-2], twice)


RULES: dict[str, Callable[[LabelGraph, Args, list[Tensor]], Found]] = {
    "convolution": _convolved,
    **dict.fromkeys(("mm", "bmm"), _multiplied),
    **dict.fromkeys(("addmm", "baddbmm"), _multiplied_and_added),
    "linear": _linear,
    "_scaled_dot_product_flash_attention_for_cpu": _attended,
}
