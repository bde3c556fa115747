"""How each operation of PyTorch carries labels, by its name there (`aten::convolution`)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from converters.channels import shapes, weighted
from converters.channels.labels import Args, LabelGraph, Labels, Rule, fixed

SPATIAL = {"1d": 1, "2d": 2, "3d": 3}


def labels_of(
    graph: LabelGraph, func: torch._ops.OpOverload, args: Args, results: list[Tensor]
) -> tuple[list[Labels] | None, Labels]:
    """The labels of the results, or None, and what the multiply-adds are a product of."""
    name = func.overloadpacket.__name__
    work: Labels = ()
    found: list[Labels] | None = None
    if name in weighted.RULES:
        found, work = weighted.RULES[name](graph, args, results)
    elif name in RULES:
        found = RULES[name](graph, args, results)
    elif torch.Tag.pointwise in func.tags:
        found = _pointwise(graph, args, results)
    if found is None:
        return None, ()
    # A rule may speak of the first results only: what it does not know must stay. One whose labels
    # do not fit a result is wrong about this call, which then counts as unknown.
    found = [*found, *(fixed(tensor.shape) for tensor in results[len(found) :])]
    fits = all(
        tuple(map(len, labels)) == tuple(tensor.shape)
        for labels, tensor in zip(found, results, strict=True)
    )
    return (found, work) if fits else (None, ())


def _pointwise(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    given = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
    return [graph.beside([graph.of(tensor) for tensor in given])]


def _same(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    return [graph.of(args[0])]


def _copied(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    """Into the first argument, whose labels stay its own."""
    target, source = graph.of(args[0]), graph.of(args[1])
    graph.beside([target, source])
    return [target]


def _made(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    """Of no tensor, or of a tensor's shape alone."""
    return []


def _normalised(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    """BatchNorm: each channel by itself, (N, C, ...)."""
    labels = graph.of(args[0])
    for tensor in args[1:5]:
        if isinstance(tensor, Tensor):
            graph.link(graph.of(tensor)[0], labels[1])
    statistics = (r.shape for r in results[1:])
    return [labels, *((labels[1],) if s == (len(labels[1]),) else fixed(s) for s in statistics)]


def _layer_normalised(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    """Its mean and variance are over the last dimensions, which must therefore stay."""
    labels, rank = graph.of(args[0]), len(args[1])
    graph.keep(*labels[-rank:])
    for tensor in args[2:4]:
        if isinstance(tensor, Tensor):
            graph.keep(*graph.of(tensor))
    return [labels]


def _group_normalised(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    """Its mean and variance are over the channels of a group, which must therefore stay."""
    labels = graph.of(args[0])
    graph.keep(*labels[1:])
    for tensor in args[1:3]:
        if isinstance(tensor, Tensor):
            graph.keep(*graph.of(tensor))
    return [labels]


def _windows(spatial: int) -> Rule:
    """Pooling, resizing, padding: each channel by itself, its last dimensions changed."""

    def rule(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
        labels = graph.of(args[0])
        graph.keep(*labels[-spatial:])
        return [labels[:-spatial] + fixed(r.shape[-spatial:]) for r in results]

    return rule


def _sampled(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    """grid_sampler: (N, C, H, W) at places (N, H', W', 2)."""
    image, places = graph.of(args[0]), graph.of(args[1])
    graph.keep(image[0], *image[2:], *places)
    return [image[:2] + fixed(results[0].shape[2:])]


def _reduced(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels] | None:
    """What is summed up must stay: the mean of fewer channels is another number."""
    labels = list(graph.of(args[0]))
    if len(args) < 2 or not isinstance(args[1], int | list | tuple):
        return None
    places = [args[1]] if isinstance(args[1], int) else args[1] or range(len(labels))
    for place in places:
        graph.keep(labels[place])
        labels[place] = np.zeros(1, np.int64)
    gone = {place % len(labels) for place in places} if results[0].ndim < len(labels) else ()
    return [tuple(each for place, each in enumerate(labels) if place not in gone)] * len(results)


def _softmax(graph: LabelGraph, args: Args, results: list[Tensor]) -> list[Labels]:
    labels = graph.of(args[0])
    graph.keep(labels[args[1]])
    return [labels]


RULES: dict[str, Rule] = {
    **dict.fromkeys(("clone", "detach", "alias", "_to_copy", "lift_fresh", "contiguous"), _same),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "empty_like", "fill_"), _same),
    **dict.fromkeys(("empty", "zeros", "ones", "full", "arange", "linspace", "device"), _made),
    "copy_": _copied,
    "_prelu_kernel": _pointwise,
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"),
        _normalised,
    ),
    "native_group_norm": _group_normalised,
    "native_layer_norm": _layer_normalised,
    **dict.fromkeys(("_softmax", "_log_softmax"), _softmax),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "logsumexp"), _reduced),
    "grid_sampler_2d": _sampled,
    **{
        f"{name}{suffix}": _windows(rank)
        for suffix, rank in SPATIAL.items()
        for name in (
            *("avg_pool", "_adaptive_avg_pool", "adaptive_avg_pool", "adaptive_max_pool"),
            *("max_pool", "upsample_nearest", "_upsample_nearest_exact"),
            *("reflection_pad", "replication_pad"),
        )
    },
    **{f"max_pool{rank}d_with_indices": _windows(rank) for rank in (2, 3)},
    **dict.fromkeys(
        ("upsample_bilinear2d", "upsample_bicubic2d", "_upsample_bilinear2d_aa"), _windows(2)
    ),
    **shapes.RULES,
}
