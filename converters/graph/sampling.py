"""Sampling a picture at computed places, where a format has only some of the ways."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

aten: Any = torch.ops.aten

NEAREST, BICUBIC = 1, 2
BORDER, REFLECTION = 1, 2
"""How PyTorch counts the ways to interpolate, and to go on beyond the edges."""


def sample_bicubic(
    x: Tensor, grid: Tensor, mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """A sum of the 16 pixels around each place, which are looked up one by one as the nearest.

    The weights are Keys' cubics with a = -0.75, as PyTorch has them.
    """
    sizes = torch.tensor([x.shape[3], x.shape[2]], dtype=grid.dtype)
    if align_corners:
        step, first = 2 / (sizes - 1).clamp(min=1), torch.zeros(2) - 1
    else:
        step, first = 2 / sizes, 1 / sizes - 1
    places = (grid - first) / step  # (N, H, W, 2), in pixels
    corner = places.floor()
    mirrors = padding_mode == REFLECTION and not align_corners
    weights = _cubic_weights(places - corner)
    sampled: Any = 0
    for i, down in enumerate(weights):
        for j, across in enumerate(weights):
            pixel = corner + torch.tensor([j - 1.0, i - 1.0])
            # Core ML mirrors at centres, where PyTorch does at edges.
            at, padding = (_mirrored(pixel, sizes), BORDER) if mirrors else (pixel, padding_mode)
            found = aten.grid_sampler(x, at * step + first, NEAREST, padding, align_corners)
            sampled = found * (down[..., 1] * across[..., 0]).unsqueeze(1) + sampled
    return sampled


def sample_mirrored(
    x: Tensor, grid: Tensor, mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """Places that are mirrored at the edges before: Core ML mirrors at the outermost centres."""
    sizes = torch.tensor([x.shape[3], x.shape[2]], dtype=grid.dtype)
    step, first = 2 / sizes, 1 / sizes - 1
    within = _mirrored((grid - first) / step, sizes) * step + first
    found: Tensor = aten.grid_sampler(x, within, mode, BORDER, align_corners)
    return found


def sample(x: Tensor, grid: Tensor, mode: int, *how: Any) -> Tensor:
    """What Core ML samples otherwise, or not at all."""
    return (sample_bicubic if mode == BICUBIC else sample_mirrored)(x, grid, mode, *how)


def _mirrored(pixel: Tensor, sizes: Tensor) -> Tensor:
    """The pixel within that is met where a picture is mirrored at its edges, again and again."""
    far = (pixel + 0.5).abs()
    times = (far / sizes).floor()
    rest, turned = far - times * sizes, times - 2 * (times / 2).floor()
    return rest + turned * (sizes - 2 * rest) - 0.5


def _cubic_weights(t: Tensor) -> list[Tensor]:
    """Of the pixels at -1, 0, 1 and 2, seen from `t` between 0 and 1."""
    a = -0.75

    def near(d: Tensor) -> Tensor:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Tensor) -> Tensor:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def differs(node: fx.Node) -> bool:
    """Whether Core ML samples pictures otherwise than PyTorch."""
    x, _, mode, padding_mode, align_corners = node.args
    mirrors = padding_mode == REFLECTION and not align_corners
    picture = x.meta["val"].ndim == 4  # type: ignore[union-attr]
    return bool(picture and (mode == BICUBIC or mirrors))
