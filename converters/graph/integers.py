"""Matrix products of integers, which no converter holds, written as products and sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

MOST_PRODUCTS = 2**24
"""Products that are held at once: 64 MB."""


def whole_product(x: Tensor, y: Tensor) -> Tensor:
    """x @ y of whole numbers: products, then sums, which are exact in 32 bits."""
    left = x.unsqueeze(0) if x.ndim == 1 else x
    right = y.unsqueeze(-1) if y.ndim == 1 else y
    lead = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    if len(lead) > 2:  # a product has an axis more than its factors, and converters have five
        left = left.expand(*lead, *left.shape[-2:]).reshape(-1, *left.shape[-2:])
        right = right.expand(*lead, *right.shape[-2:]).reshape(-1, *right.shape[-2:])
    found = (left.unsqueeze(-1) * right.unsqueeze(-3)).sum(-2)
    if len(lead) > 2:
        found = found.reshape(*lead, *found.shape[-2:])
    found = found.squeeze(-2) if x.ndim == 1 else found
    return found.squeeze(-1) if y.ndim == 1 else found


def whole_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    found = whole_product(x, weight.t())
    return found if bias is None else found + bias


def whole_sum(bias: Tensor, x: Tensor, y: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """addmm, baddbmm, addmv."""
    return bias * beta + whole_product(x, y) * alpha


def of_whole_numbers(first: int) -> Callable[[fx.Node], bool]:
    """Whether the factors of a product, arguments `first` and the next, are integers.

    A product too large to be written out stays, and is refused by the rule's name.
    """

    def when(node: fx.Node) -> bool:
        args: Any = node.args
        x, result = args[first].meta["val"], node.meta["val"]
        whole = not result.is_floating_point() and not result.is_complex()
        return whole and result.numel() * x.shape[-1] <= MOST_PRODUCTS

    return when
