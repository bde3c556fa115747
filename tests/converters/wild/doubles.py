"""What a net says in float64: the truth that a file and PyTorch's own float32 are held to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from converters.doubles import DOUBLE, call


def tensors(result: object) -> list[Tensor]:
    """The tensors of what forward returned, in the order of its fields."""
    if isinstance(result, Mapping):  # a pytree sorts the keys of a dict
        return [tensor for one in result.values() for tensor in tensors(one)]
    if isinstance(result, list | tuple):
        return [tensor for one in result for tensor in tensors(one)]
    return [one for one in _pytree.tree_leaves(result) if isinstance(one, Tensor)]


def answers(net: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """What the net makes of the inputs in float32."""
    with torch.no_grad():
        return tensors(net(*(one.clone() for one in inputs)))


def true_answers(net: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The same in float64."""
    with _default(DOUBLE):
        return tensors(call(net, [one.clone() for one in inputs]))


@contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
