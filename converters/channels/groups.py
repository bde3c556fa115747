"""Groups of channels that may go, and what is left without some of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from converters.channels.follow import TracedOperation
from converters.channels.labels import Labels
from converters.channels.remove import Cuts, Place

Chosen = Mapping[str, np.ndarray]
"""By a group's name, the channels of it that go."""


@dataclass(frozen=True)
class Group:
    """Channels that take the same: as many numbers, at the same places.

    `members[place]` is (channels, k), the k indices that each channel has there; `labels` is
    (channels, n). `name` is the layer that makes them, the first where there are several.
    """

    name: str
    members: Mapping[Place, np.ndarray] = field(repr=False)
    labels: np.ndarray = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Channels:
    """What may go of a net with these tensors that ran these calls.

    `unknown` are the operations that could not be followed, `refused` the groups of which the
    net's own code needs all: both stay.
    """

    groups: tuple[Group, ...]
    calls: tuple[TracedOperation, ...] = field(repr=False)
    labels: Mapping[str, Labels] = field(repr=False)
    unknown: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def macs(self, chosen: Chosen) -> int:
        """Multiply-adds of one run without these channels."""
        gone = self.gone(chosen)
        return sum(
            constant * _product(np.count_nonzero(~gone[each]) for each in free)
            for constant, free in self._work
        )

    @cached_property
    def _work(self) -> list[tuple[int, list[np.ndarray]]]:
        """For each call that multiplies: a constant, and labels whose numbers multiply it."""
        return [
            (
                _product(len(each) for each in call.work if not each.any()),
                [each for each in call.work if each.any()],
            )
            for call in self.calls
            if call.work
        ]

    def numbers(self, chosen: Chosen) -> int:
        """The numbers that are left in the state dict."""
        gone = self.gone(chosen)
        return sum(
            _product(np.count_nonzero(~gone[each]) for each in labels)
            for labels in self.labels.values()
        )

    def gone(self, chosen: Chosen) -> np.ndarray:
        """For each label, whether it goes."""
        most = max((int(each.max()) for own in self.labels.values() for each in own), default=0)
        gone = np.zeros(most + 1, bool)
        for group in self.groups:
            gone[group.labels[chosen.get(group.name, [])].ravel()] = True
        return gone

    def cuts(self, chosen: Chosen) -> Cuts:
        """The indices that go, at each place."""
        cuts: dict[Place, list[np.ndarray]] = defaultdict(list)
        for group in self.groups:
            if len(chosen.get(group.name, [])):
                for place, members in group.members.items():
                    cuts[place].append(members[chosen[group.name]].ravel())
        return {place: np.concatenate(found) for place, found in cuts.items()}


def _product(sizes: object) -> int:
    product = 1
    for size in sizes:  # type: ignore[attr-defined]
        product *= int(size)
    return product
