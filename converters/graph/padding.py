"""Pads that converters do not hold, written with those that they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

F: Any = torch.nn.functional


def pad_and_cut(
    x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """A negative width cuts. What is mirrored or repeated is that of the whole."""
    widths = [max(one, 0) for one in pad]
    whole = mode in ("reflect", "replicate")
    if whole and any(widths):
        x = F.pad(x, widths, mode=mode)
    for place in range(0, len(pad), 2):
        before, after = (max(-one, 0) for one in pad[place : place + 2])
        axis = x.ndim - 1 - place // 2
        if before or after:
            x = x.narrow(axis, before, x.shape[axis] - before - after)
    if not whole and any(widths):
        x = F.pad(x, widths, mode=mode, value=value)
    return x


def cuts(node: fx.Node) -> bool:
    pad: Any = node.args[1]
    return any(one < 0 for one in pad)


def pad_around(
    x: Tensor, pad: Sequence[int], mode: str = "circular", value: float | None = None
) -> Tensor:
    """Around each axis: what is at the other end of it."""
    for place in range(0, len(pad), 2):
        before, after = pad[place : place + 2]
        axis = x.ndim - 1 - place // 2
        size = x.shape[axis]
        parts = [x.narrow(axis, size - before, before), x, x.narrow(axis, 0, after)]
        x = torch.cat([part for part in parts if part.shape[axis]], axis)
    return x


def is_circular(node: fx.Node) -> bool:
    return _mode(node) == "circular" and not cuts(node)


def _mode(node: fx.Node) -> Any:
    return node.args[2] if len(node.args) > 2 else node.kwargs.get("mode", "constant")
