"""Follows every number of every parameter's every dimension through one run of a net.

Each place along a dimension has a label, an integer; an operation carries labels from its
arguments to its results and links those that must go together: the outputs of a convolution
with the channels of the BatchNorm after it, both sides of a sum. Label 0 is what must stay.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Labels = tuple[np.ndarray, ...]
"""Of a tensor: for each dimension, the label of each place."""

Args = Sequence[Any]
"""Of an operation: those without a name, then those with one."""

STAYS = 0


@dataclass(frozen=True)
class TracedOperation:
    """An operation that ran, its results' labels, and what its multiply-adds are a product of.

    `work` is empty for an operation that only moves or maps numbers.
    """

    operation: str
    results: tuple[Labels, ...]
    work: Labels = ()

    def same(self, other: TracedOperation) -> bool:
        return (
            self.operation == other.operation
            and len(self.results) == len(other.results)
            and all(map(_same, self.results, other.results))
        )


def _same(a: Labels, b: Labels) -> bool:
    return len(a) == len(b) and all(map(np.array_equal, a, b))


class Follow(TorchDispatchMode):
    """Labels what passes while it is active; `calls` and `links` are what it has seen.

    `unknown` names the operations that it does not know: all that they touch must stay.
    """

    def __init__(self, named: Iterable[tuple[torch.Tensor, Labels]]) -> None:
        super().__init__()
        self._known = {id(tensor): (tensor, labels) for tensor, labels in named}
        self._parameters = frozenset(self._known)
        self.read: set[int] = set()
        """The parameters that were arguments, by identity."""
        self.links: list[tuple[np.ndarray, np.ndarray]] = []
        self.calls: list[TracedOperation] = []
        self.unknown: set[str] = set()

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

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        if results:
            self._note(func, args, kwargs, results)
        return result

    def _note(self, func: Any, args: Any, kwargs: Any, results: list[torch.Tensor]) -> None:
        from converters.channels import rules

        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        self.read |= self._parameters & set(map(id, given))
        name = func.overloadpacket.__name__
        found, work = rules.labels_of(self, func, (*args, *kwargs.values()), results)
        if found is None:
            if any(labels.any() for tensor in given for labels in self.of(tensor)):
                self.unknown.add(name)
            for tensor in given:
                self.keep(*self.of(tensor))
            found = [fixed(tensor.shape) for tensor in results]
        for tensor, labels in zip(results, found, strict=True):
            self._known[id(tensor)] = (tensor, labels)
        self.calls.append(TracedOperation(name, tuple(found), work))


Rule = Callable[[Follow, Args, list[torch.Tensor]], list[Labels] | None]
"""The labels of an operation's results, the rest of which must stay; None: it cannot tell."""


def fixed(shape: Sequence[int]) -> Labels:
    """The labels of a tensor of which all must stay."""
    return tuple(np.zeros(size, np.int64) for size in shape)


def stored(module: nn.Module) -> dict[str, torch.Tensor]:
    """What a state dict holds of a module, each tensor under its first name only."""
    kept = module.state_dict(keep_vars=True)
    first = {id(tensor): name for name, tensor in reversed(kept.items())}
    return {name: kept[name] for name in kept if first[id(kept[name])] == name}


def named(module: nn.Module) -> dict[str, Labels]:
    """A label of its own for each place of each dimension of each stored tensor."""
    labels, used = {}, STAYS + 1
    for name, tensor in stored(module).items():
        starts = np.cumsum([used, *tensor.shape])
        labels[name] = tuple(
            np.arange(start, start + size)
            for start, size in zip(starts[:-1], tensor.shape, strict=True)
        )
        used = int(starts[-1])
    return labels


def hollow(module: nn.Module) -> tuple[FakeTensorMode, nn.Module]:
    """A copy of a module that has shapes but no numbers, and the mode that it runs in."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    tensors = [*module.parameters(), *module.buffers()]
    return fake, copy.deepcopy(module, {id(t): fake.from_tensor(t) for t in tensors})


def run(
    fake: FakeTensorMode,
    module: nn.Module,
    inputs: Sequence[torch.Tensor],
    labels: Mapping[str, Labels],
) -> Follow:
    """Follows a run of a hollow module; its outputs stay, and what it does not read."""
    tensors = stored(module)
    follow = Follow([(tensor, labels[name]) for name, tensor in tensors.items()])
    with torch.no_grad(), fake, follow:
        result = module(*(fake.from_tensor(tensor) for tensor in inputs))
    for name, tensor in tensors.items():
        if id(tensor) not in follow.read:
            follow.keep(*labels[name])
    for leaf in tree_leaves(result):
        if isinstance(leaf, torch.Tensor):
            follow.keep(*follow.of(leaf))
    return follow
