"""Operations that only move numbers: reshaping, cutting, joining."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from converters.channels.labels import Args, LabelGraph, Labels, Rule, fixed


def _reshaped(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    """Dimension by dimension; of several that become one, or one that becomes several."""
    labels, shape = graph.of(args[0]), tuple(results[0].shape)
    made: list[np.ndarray] = []
    for before, after in _parts([len(each) for each in labels], shape):
        made += _regrouped(graph, labels[before], shape[after])
    return [tuple(made)]


def _parts(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """The shortest runs of dimensions that hold equally many numbers."""
    i = j = 0
    while i < len(before) or j < len(after):
        start, begin = i, j
        i, j = min(i + 1, len(before)), min(j + 1, len(after))
        while math.prod(before[start:i]) != math.prod(after[begin:j]):
            if math.prod(before[start:i]) < math.prod(after[begin:j]):
                i += 1
            else:
                j += 1
        yield slice(start, i), slice(begin, j)


def _regrouped(graph: LabelGraph, labels: Labels, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Of the dimensions that a label then depends on, the largest keeps it.

    So a shuffle's groups shrink alike, and a block of pixels stays whole.
    """
    zeros = [*fixed(shape)]
    free = [place for place, each in enumerate(labels) if each.any()]
    if not free or not shape:
        return zeros
    # Where several dimensions have labels, one place of the result hangs on a label of each: to
    # take it out would take out a row and a column. None of them may go.
    if len(free) > 1:
        graph.keep(*labels)
        return zeros
    (place,) = free
    around = [len(each) if at == place else 1 for at, each in enumerate(labels)]
    spread = np.broadcast_to(labels[place].reshape(around), [len(each) for each in labels])
    full = spread.reshape(shape)
    varying = [at for at in range(len(shape)) if (full != full.take([0], at)).any()]
    chosen = max(varying or range(len(shape)), key=lambda at: shape[at])
    # The other dimensions keep their size, so that all labels at one place of the chosen one have
    # to go together; the first of them stands for all.
    first = full
    for at in range(len(shape)):
        if at != chosen:
            first = first.take([0], at)
    if len(varying) > 1:
        graph.link(full.ravel(), np.broadcast_to(first, shape).ravel())
    zeros[chosen] = first.ravel()
    return zeros


def _permuted(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    labels = graph.of(args[0])
    return [tuple(labels[place] for place in args[1])]


def _transposed(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    labels = list(graph.of(args[0]))
    one, other = args[1:3] if len(args) > 2 else (0, -1)
    labels[one], labels[other] = labels[other], labels[one]
    return [tuple(labels)]


def _unsqueezed(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    labels = list(graph.of(args[0]))
    labels.insert(args[1] % results[0].ndim, np.zeros(1, np.int64))
    return [tuple(labels)]


def _squeezed(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    labels = graph.of(args[0])
    places = range(len(labels)) if len(args) < 2 else args[1]
    places = [places] if isinstance(places, int) else places
    gone = {place % len(labels) for place in places if len(labels[place]) == 1}
    return [tuple(each for place, each in enumerate(labels) if place not in gone)]


def _expanded(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    labels, shape = graph.of(args[0]), tuple(results[0].shape)
    made = [*fixed(shape)]
    for place in range(-len(labels), 0):
        if len(labels[place]) == shape[place]:
            made[place] = labels[place]
        else:
            graph.keep(labels[place])
    return [tuple(made)]


def _repeated(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    labels, times = graph.of(args[0]), list(args[1])
    more = [np.zeros(1, np.int64)] * (len(times) - len(labels))
    pairs = zip([*more, *labels], times, strict=True)
    return [tuple(np.tile(each, often) for each, often in pairs)]


def _sliced(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    labels, given = list(graph.of(args[0])), [*args[1:5]]
    place = given[0] if given else 0
    labels[place] = labels[place][slice(*given[1:])] if given[1:] else labels[place]
    return [tuple(labels)]


def _selected(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    """The place is a number, so that those before it must stay as well."""
    labels, place = list(graph.of(args[0])), int(args[1]) if len(args) > 1 else 0
    graph.keep(labels.pop(place))
    return [tuple(labels)] * len(results)


def _split(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    labels, place = list(graph.of(args[0])), args[2] if len(args) > 2 else 0
    cuts = np.cumsum([tensor.shape[place] for tensor in results])[:-1]
    pieces = np.split(labels[place], cuts)
    rest = place % len(labels)
    return [(*labels[:rest], piece, *labels[rest + 1 :]) for piece in pieces]


def _joined(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    place = (args[1] if len(args) > 1 else 0) % results[0].ndim
    given = [graph.of(tensor) for tensor in args[0] if tensor.ndim == results[0].ndim]
    return [
        tuple(
            np.concatenate([labels[at] for labels in given])
            if at == place
            else graph.beside([(labels[at],) for labels in given])[0]
            for at in range(results[0].ndim)
        )
    ]


def _stacked(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    made = list(graph.beside([graph.of(tensor) for tensor in args[0]]))
    place = (args[1] if len(args) > 1 else 0) % results[0].ndim
    made.insert(place, np.zeros(len(args[0]), np.int64))
    return [tuple(made)]


def _padded(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels] | None:
    """(last dimension's start, its end, the last but one's start, ...)."""
    labels, amounts = list(graph.of(args[0])), list(args[1])
    if min(amounts) < 0:
        return None
    for number, pair in enumerate(zip(amounts[::2], amounts[1::2], strict=True), 1):
        labels[-number] = np.pad(labels[-number], pair)
    return [tuple(labels)]


def _shuffled(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    """pixel_shuffle: the channels of one block of pixels stay together."""
    *batch, channels, height, width = graph.of(args[0])
    graph.keep(height, width)
    blocks = channels.reshape(-1, args[1] ** 2)
    graph.link(blocks, blocks[:, :1])
    return [(*batch, blocks[:, 0], *fixed(results[0].shape[-2:]))]


def _unshuffled(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    """pixel_unshuffle: each channel becomes a block of channels."""
    *batch, channels, height, width = graph.of(args[0])
    graph.keep(height, width)
    made = np.repeat(channels, args[1] ** 2)
    return [(*batch, made, *fixed(results[0].shape[-2:]))]


RULES: dict[str, Rule] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias"), _reshaped),
    "permute": _permuted,
    **dict.fromkeys(("transpose", "t"), _transposed),
    "unsqueeze": _unsqueezed,
    "squeeze": _squeezed,
    "expand": _expanded,
    "repeat": _repeated,
    "slice": _sliced,
    **dict.fromkeys(("select", "unbind"), _selected),
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split"), _split),
    "cat": _joined,
    "stack": _stacked,
    "constant_pad_nd": _padded,
    "pixel_shuffle": _shuffled,
    "pixel_unshuffle": _unshuffled,
}
