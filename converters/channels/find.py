"""Finds the channels of a net that may go, and proves it by running the net without some."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import nn

from converters.channels import follow
from converters.channels.follow import Follower, TracedOperation
from converters.channels.groups import Channels, Chosen, Group
from converters.channels.labels import STAYS, Labels
from converters.channels.remove import Place, remove


def channels_of(module: nn.Module, inputs: Sequence[torch.Tensor]) -> Channels:
    """What may go of a module in eval mode that takes these inputs.

    A group of which the net's own code needs all is found by running the net, without numbers,
    without the ends of the group: a slice at a fixed place, or a width written as a number.
    """
    seen = follow.run(*follow.hollow(module), inputs, follow.named(module))
    labels = follow.named(module)
    found = Channels(_groups(seen, labels), tuple(seen.calls), labels, tuple(sorted(seen.unknown)))
    if all(explains(found, module, inputs, trial) for trial in _trials(found)):
        return found
    sound = [g for g in found.groups if explains(found, module, inputs, {g.name: _ends(g)})]
    refused = tuple(group.name for group in found.groups if group not in sound)
    return replace(found, groups=tuple(sound), refused=refused)


def explains(
    channels: Channels, module: nn.Module, inputs: Sequence[torch.Tensor], chosen: Chosen
) -> bool:
    """Whether the module without these channels computes what is left of every result."""
    gone = channels.gone(chosen)
    fake, hollow = follow.hollow(module)
    left = {name: _left(labels, gone) for name, labels in channels.labels.items()}
    log = logging.getLogger("torch._subclasses.fake_tensor")
    heard = log.level
    log.setLevel(logging.CRITICAL)  # of what is caught below
    try:
        with fake:
            remove(hollow, channels.cuts(chosen))
        after = follow.run(fake, hollow, inputs, left).calls
    except Exception:  # the net's own code may raise anything when a width is not what it expects
        return False
    finally:
        log.setLevel(heard)
    return len(after) == len(channels.calls) and all(
        call.same(_without(other, gone)) for call, other in zip(after, channels.calls, strict=True)
    )


def _trials(channels: Channels) -> list[Chosen]:
    """The ends of half of the groups each: any two groups are on two sides once."""
    groups = channels.groups
    return [
        {group.name: _ends(group) for number, group in enumerate(groups, 1) if number >> bit & 1}
        for bit in range(len(groups).bit_length())
    ]


def _ends(group: Group) -> np.ndarray:
    """Without its first channel and its last, what is between is elsewhere from either side."""
    return np.array([0, group.size - 1] if group.size > 2 else [0])


def _left(labels: Labels, gone: np.ndarray) -> Labels:
    return tuple(each[~gone[each]] for each in labels)


def _without(call: TracedOperation, gone: np.ndarray) -> TracedOperation:
    return replace(call, results=tuple(_left(labels, gone) for labels in call.results))


def _groups(seen: Follower, labels: dict[str, Labels]) -> tuple[Group, ...]:
    """Channels of the same kind, of more than one; in the order of the parameters."""
    channel_of = _components(seen, labels)
    members: dict[int, dict[Place, list[int]]] = defaultdict(lambda: defaultdict(list))
    owned: dict[int, list[int]] = defaultdict(list)
    for name, own in labels.items():
        for place, each in enumerate(own):
            for index, label in enumerate(each):
                channel = int(channel_of[label])
                if channel != channel_of[STAYS]:
                    members[channel][name, place].append(index)
                    owned[channel].append(int(label))
    kinds: dict[object, list[int]] = defaultdict(list)
    for channel, places in members.items():
        kinds[tuple((place, len(indices)) for place, indices in places.items())].append(channel)
    names = Counter[str]()
    return tuple(
        Group(
            _numbered(_name(members[first]), names),
            {place: np.array([members[c][place] for c in kind]) for place in members[first]},
            np.array([owned[c] for c in kind]),
        )
        for kind in kinds.values()
        if len(kind) > 1
        for first in kind[:1]
    )


def _components(seen: Follower, labels: dict[str, Labels]) -> np.ndarray:
    """For each label, the number of the set that goes together."""
    count = 1 + sum(len(each) for own in labels.values() for each in own)
    ends = [np.concatenate(side) for side in zip(*seen.graph.links, strict=True)]
    links = coo_array((np.ones(len(ends[0])), tuple(ends)), shape=(count, count))
    found: np.ndarray = connected_components(links, directed=False)[1]
    return found


def _numbered(name: str, names: Counter[str]) -> str:
    """`name`, and of the layer's further groups `name:2`, `name:3`."""
    names[name] += 1
    return name if names[name] == 1 else f"{name}:{names[name]}"


def _name(places: dict[Place, list[int]]) -> str:
    """The first layer of which these are outputs, or else the first parameter's."""
    made = [name for name, place in places if place == 0 and name.endswith("weight")]
    return (made or [name for name, _ in places])[0].rpartition(".")[0]
