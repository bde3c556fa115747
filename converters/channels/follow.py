"""Follows every number of every parameter's every dimension through one run of a net.

Forward itself is run, not its captured graph: whether a net's own code is right about other widths
only that code can say, and a capture would take three times as long, for each that is tried.

Each place along a dimension has a label, an integer; an operation carries labels from its
arguments to its results and links those that must go together: the outputs of a convolution
with the channels of the BatchNorm after it, both sides of a sum. Label 0 is what must stay.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import BaseTorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from converters.channels import rules
from converters.channels.labels import STAYS, LabelGraph, Labels, fixed


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


class Follower(TorchDispatchMode):
    """Labels what passes while it is active; `calls` and `graph` are what it has seen.

    `unknown` names the operations that it does not know: all that they touch must stay.
    """

    def __init__(self, named: Iterable[tuple[torch.Tensor, Labels]]) -> None:
        super().__init__()
        parameters = list(named)
        self.graph = LabelGraph(parameters)
        self._parameters = frozenset(id(tensor) for tensor, _ in parameters)
        self.read: set[int] = set()
        """The parameters that were arguments, by identity."""
        self.calls: list[TracedOperation] = []
        self.unknown: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        if results:
            self._note(func, args, kwargs, results)
        return result

    def _note(self, func: Any, args: Any, kwargs: Any, results: list[torch.Tensor]) -> None:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        self.read |= self._parameters & set(map(id, given))
        name = func.overloadpacket.__name__
        found, work = rules.labels_of(self.graph, func, (*args, *kwargs.values()), results)
        if found is None:
            if any(labels.any() for tensor in given for labels in self.graph.of(tensor)):
                self.unknown.add(name)
            for tensor in given:
                self.graph.keep(*self.graph.of(tensor))
            found = [fixed(tensor.shape) for tensor in results]
        for tensor, labels in zip(results, found, strict=True):
            self.graph.name(tensor, labels)
        self.calls.append(TracedOperation(name, tuple(found), work))


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


def _as_exported() -> AbstractContextManager[Any]:
    """PyTorch's Transformer layers in their parts, not as one operation that nothing else has."""
    return BaseTorchFunctionMode()  # they take that way where anybody looks on


def run(
    fake: FakeTensorMode,
    module: nn.Module,
    inputs: Sequence[torch.Tensor],
    labels: Mapping[str, Labels],
) -> Follower:
    """Follows a run of a hollow module; its outputs stay, and what it does not read."""
    tensors = stored(module)
    follow = Follower([(tensor, labels[name]) for name, tensor in tensors.items()])
    with torch.no_grad(), _as_exported(), fake, follow:
        result = module(*(fake.from_tensor(tensor) for tensor in inputs))
    for name, tensor in tensors.items():
        if id(tensor) not in follow.read:
            follow.graph.keep(*labels[name])
    for leaf in tree_leaves(result):
        if isinstance(leaf, torch.Tensor):
            follow.graph.keep(*follow.graph.of(leaf))
    return follow
