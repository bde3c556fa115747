"""Which channels go: those of the lowest scores, up to a ratio or until a target is met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from converters.channels.groups import Channels, Chosen, Group
from model_defs.errors import GoalOutOfReach
from toolchain.pruning.goal import PruningGoal, below
from toolchain.pruning.importance import COMPARABLE, Scores

FINEST = 12
"""A target is met by the smallest of 2^12 steps of pruning."""


@dataclass(frozen=True)
class ChannelChoice:
    """Among the channels of a net, by what is wanted and how much each channel matters."""

    wanted: PruningGoal
    channels: Channels
    scores: Scores

    def made(self) -> Chosen:
        """The channels that go: those of the ratio, or the fewest that meet the target."""
        fixed, rest = self._fixed(), self._rest()
        ordered = self._ordered(rest)

        def at(share: float) -> Chosen:
            return fixed | ordered(share)

        measured, target, unit = self._target()
        if measured is None:
            return at(self.wanted.ratio)
        if measured(at(1.0)) > target:
            raise GoalOutOfReach(
                f"{unit} cannot be {target:,}",
                do=f"the least possible is {measured(at(1.0)):,} of {measured({}):,}",
            )
        # Bisection is right because a larger share takes the same channels and more.
        low, high = 0, 2**FINEST
        while low < high:
            middle = (low + high) // 2
            meets = measured(at(middle / 2**FINEST)) <= target
            low, high = (low, middle) if meets else (middle + 1, high)
        return at(low / 2**FINEST)

    def _target(self) -> tuple[Callable[[Chosen], int] | None, int, str]:
        wanted, channels = self.wanted, self.channels
        if wanted.macs is not None:
            return channels.macs, int(wanted.macs * channels.macs({})), "multiply-adds"
        if wanted.params is not None:
            return channels.numbers, int(wanted.params * channels.numbers({})), "numbers"
        if wanted.bytes is not None:
            return (lambda chosen: 4 * channels.numbers(chosen)), wanted.bytes, "bytes"
        return None, 0, ""

    def _fixed(self) -> dict[str, np.ndarray]:
        """The channels of the layers that have a ratio of their own."""
        ratios = {
            group.name: (group, ratio)
            for path, ratio in self.wanted.layers
            for group in self.channels.groups
            if below(group.name, path)
        }
        return {
            name: self._least(group, round(ratio * group.size))
            for name, (group, ratio) in ratios.items()
        }

    def _rest(self) -> list[Group]:
        own = [path for path, _ in self.wanted.layers]
        return [g for g in self.channels.groups if not any(below(g.name, path) for path in own)]

    def _ordered(self, groups: list[Group]) -> Callable[[float], dict[str, np.ndarray]]:
        """Of a share from 0 to 1, the channels that go; of a larger one, these and more."""
        if self.wanted.scope == "layer" or not groups:
            return lambda share: {
                g.name: self._least(g, round(min(share, self.wanted.loses) * g.size))
                for g in groups
            }
        # What a channel matters for each multiply-add (or number) that it costs: the greedy answer
        # to a knapsack. Only scores with a unit can be divided so.
        ranks = np.concatenate([self.scores[g.name] / self._price(g) for g in groups])
        owner = np.concatenate([np.full(g.size, number) for number, g in enumerate(groups)])
        owner = owner[np.argsort(ranks, kind="stable")]

        def at(share: float) -> dict[str, np.ndarray]:
            counts = np.bincount(owner[: round(share * len(owner))], minlength=len(groups))
            counts = np.minimum(counts, [int(self.wanted.loses * g.size) for g in groups])
            return {g.name: self._least(g, int(n)) for g, n in zip(groups, counts, strict=True)}

        return at

    def _price(self, group: Group) -> float:
        """What one channel takes of the target; 1 where that, or the score, is a mere ratio."""
        measured, _, _ = self._target()
        if measured is None or self.wanted.importance not in COMPARABLE:
            return 1.0
        return max(1.0, measured({}) - measured({group.name: np.array([0])}))

    def _least(self, group: Group, count: int) -> np.ndarray:
        """About that many of a group's channels, those of the lowest scores, in order."""
        size = group.size
        kept = max(size - count, self.wanted.least)
        if size >= 2 * self.wanted.multiple:
            # Up, so that no layer falls below its share; kernels of 8 channels are what runtimes
            # are fast at.
            kept = -(-kept // self.wanted.multiple) * self.wanted.multiple
        order = np.argsort(self.scores[group.name], kind="stable")
        return np.sort(order[: size - min(kept, size)])
