"""Operations that multiply and add: convolutions, matrix products, attention."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from converters.channels.follow import Args, Follow, Labels, fixed

Found = tuple[list[Labels] | None, Labels]
"""The results' labels, and what the multiply-adds are a product of."""


def _convolved(follow: Follow, args: Args, results: list[Tensor]) -> Found:
    """Of (N, C, ...) with a kernel (O, I / groups, ...), or transposed (I, O / groups, ...)."""
    given, kernel, bias = args[:3]
    transposed, groups = bool(args[6]), int(args[8])
    batch, channels, *places = follow.of(given)
    follow.keep(batch, *places, *follow.of(kernel)[2:])
    first, second = follow.of(kernel)[:2]
    if groups == 1:
        inputs, outputs = (first, second) if transposed else (second, first)
        follow.link(channels, inputs)
    elif len(second) == 1 and len(channels) == groups:
        follow.link(np.repeat(channels, len(first) // groups), first)
        outputs = first
    elif transposed:
        follow.link(channels, first)
        _alike(follow, first.reshape(groups, -1))
        outputs = np.tile(second, groups)
    else:
        follow.link(channels.reshape(groups, -1), second)
        _alike(follow, first.reshape(groups, -1))
        outputs = first
    if isinstance(bias, Tensor):
        follow.link(follow.of(bias)[0], outputs)
    made = (batch, outputs, *fixed(results[0].shape[2:]))
    work = (batch, channels, *places) if transposed else made
    return [made], (*work, *follow.of(kernel)[1:])


def _alike(follow: Follow, rows: np.ndarray) -> None:
    """Groups of channels, one a row, shrink at the same places."""
    follow.link(rows, rows[:1])


def _multiplied(follow: Follow, args: Args, results: list[Tensor]) -> Found:
    """(..., N, K) by (..., K, M); what is before is the same on both sides."""
    *batch, rows, inner = follow.of(args[0])
    *others, other, columns = follow.of(args[1])
    follow.link(inner, other)
    before = follow.beside([tuple(batch), tuple(others)]) if batch else ()
    return [(*before, rows, columns)], (*before, rows, columns, inner)


def _multiplied_and_added(follow: Follow, args: Args, results: list[Tensor]) -> Found:
    found, work = _multiplied(follow, args[1:], results)
    assert found is not None
    return [follow.beside([found[0], follow.of(args[0])])], work


def _linear(follow: Follow, args: Args, results: list[Tensor]) -> Found:
    """(..., I) by a weight (O, I), and a bias (O)."""
    *batch, inner = follow.of(args[0])
    outputs, inputs = follow.of(args[1])
    follow.link(inner, inputs)
    if len(args) > 2 and isinstance(args[2], Tensor):
        follow.link(follow.of(args[2])[0], outputs)
    return [(*batch, outputs)], (*batch, outputs, inputs)


def _attended(follow: Follow, args: Args, results: list[Tensor]) -> Found:
    """Queries (..., L, E), keys (..., S, E), values (..., S, V) -> (..., L, V).

    The scale is made from E, which must therefore stay.
    """
    queries, keys, values = map(follow.of, args[:3])
    follow.keep(*queries[-2:], *keys[-2:], values[-2], values[-1])
    follow.keep(*(each for labels in (queries, keys, values) for each in labels[:-2]))
    twice = np.zeros(2, np.int64)  # queries by keys, then by values as wide
    return [fixed(results[0].shape)], (*queries, keys[-2], twice)


RULES: dict[str, Callable[[Follow, Args, list[Tensor]], Found]] = {
    "convolution": _convolved,
    **dict.fromkeys(("mm", "bmm"), _multiplied),
    **dict.fromkeys(("addmm", "baddbmm"), _multiplied_and_added),
    "linear": _linear,
    "_scaled_dot_product_flash_attention_for_cpu": _attended,
}
