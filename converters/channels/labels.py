"""Labels of the places along a tensor's dimensions, and which of them go together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

Labels = tuple[np.ndarray, ...]
"""Of a tensor: for each dimension, the label of each place."""

Args = Sequence[Any]
"""Of an operation: those without a name, then those with one."""

STAYS = 0


class LabelGraph:
    """The labels of tensors, and the `links` between labels that must go together."""

    def __init__(self, named: Iterable[tuple[torch.Tensor, Labels]]) -> None:
        # The tensor is kept beside its labels: an identity is another tensor's once it is gone.
        self._known = {id(tensor): (tensor, labels) for tensor, labels in named}
        self.links: list[tuple[np.ndarray, np.ndarray]] = []

    def name(self, tensor: torch.Tensor, labels: Labels) -> None:
        """Gives a tensor its labels."""
        self._known[id(tensor)] = (tensor, labels)

    def of(self, tensor: torch.Tensor) -> Labels:
        """A tensor's labels; those of one that no parameter made must stay."""
        if id(tensor) in self._known:
            return self._known[id(tensor)][1]
        return fixed(tensor.shape)

    def link(self, first: np.ndarray, second: np.ndarray) -> None:
        """Declares that each pair of labels goes together; one side may be a single label."""
        one, other = np.broadcast_arrays(first, second)
        self.links.append((one.ravel(), other.ravel()))

    def beside(self, given: Sequence[Labels]) -> Labels:
        """The labels of tensors broadcast together: what is side by side goes together."""
        made = []
        for place in range(-max(map(len, given)), 0):
            here = [labels[place] for labels in given if len(labels) >= -place]
            full = [labels for labels in here if len(labels) == max(map(len, here))]
            for other in full[1:]:
                self.link(full[0], other)
            made.append(full[0])
        return tuple(made)

    def keep(self, *labels: np.ndarray) -> None:
        """Declares that these must stay."""
        for each in labels:
            self.link(each, np.array(STAYS))


Rule = Callable[[LabelGraph, Args, list[torch.Tensor]], list[Labels] | None]
"""The labels of an operation's results, the rest of which must stay; None: it cannot tell."""


def fixed(shape: Sequence[int]) -> Labels:
    """The labels of a tensor of which all must stay."""
    return tuple(np.zeros(size, np.int64) for size in shape)
