"""Cuts a module to the widths of a pruned net's weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from converters.channels.find import channels_of, explains
from converters.channels.groups import Channels, Chosen
from converters.channels.remove import Place, remove


def fit(
    module: nn.Module, inputs: Sequence[torch.Tensor], tensors: Mapping[str, torch.Tensor]
) -> bool:
    """Takes channels out of the module, so that these tensors fit it; False where none would.

    How many channels of each group are left is what the shapes say; which ones, the tensors
    say by their order, so that it does not matter which of the module's go.
    """
    own = module.state_dict()
    if own.keys() != tensors.keys():
        return False
    channels = channels_of(module, inputs)
    chosen = _missing(channels, {name: tuple(tensors[name].shape) for name in own})
    if chosen is None or not explains(channels, module, inputs, chosen):
        return False
    remove(module, channels.cuts(chosen))
    return all(tensors[name].shape == tensor.shape for name, tensor in module.state_dict().items())


def narrowed(
    module: nn.Module, inputs: Sequence[torch.Tensor], tensors: Mapping[str, torch.Tensor]
) -> list[str]:
    """The same, if the tensors are not the whole module's; what was done, as notes."""
    whole = {name: tensor.shape for name, tensor in module.state_dict().items()}
    pruned = any(name in whole and whole[name] != tensor.shape for name, tensor in tensors.items())
    if not pruned or not fit(module, inputs, tensors):
        return []
    before = sum(map(math.prod, whole.values()))
    left = sum(tensor.numel() for tensor in tensors.values())
    return [f"the weights are a pruned net's: {left / before:.0%} of {before:,} numbers"]


def _missing(channels: Channels, shapes: Mapping[str, tuple[int, ...]]) -> Chosen | None:
    """How many channels of each group are not there, as the first ones; None for no answer.

    A place tells it of its last group that is not known yet.
    """
    lacking = _lacking(channels, shapes)
    if lacking is None:
        return None
    found: dict[str, int] = {}
    while len(found) < len(channels.groups):
        before = len(found)
        for place, absent in lacking.items():
            here = [g for g in channels.groups if place in g.members]
            known = sum(found[g.name] * g.members[place].shape[1] for g in here if g.name in found)
            open_ = [g for g in here if g.name not in found]
            if len(open_) != 1:
                continue
            (group,) = open_
            count, rest = divmod(absent - known, group.members[place].shape[1])
            if rest or not 0 <= count < group.size:
                return None
            found[group.name] = count
        if len(found) == before:
            return None
    return {name: np.arange(count) for name, count in found.items()}


def _lacking(channels: Channels, shapes: Mapping[str, tuple[int, ...]]) -> dict[Place, int] | None:
    """How many indices are not there at each place; None where a tensor has other dimensions."""
    lacking: dict[Place, int] = {}
    for name, labels in channels.labels.items():
        if len(shapes[name]) != len(labels):
            return None
        for place, each in enumerate(labels):
            lacking[name, place] = len(each) - shapes[name][place]
    return lacking
