"""SAM's learned priors (Cornia 2018, equation 9): Gaussians over the picture, as constants."""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPSILON = 1e-7
MEAN_BOUNDS = ((0.25, 0.75), (0.35, 0.65))  # x, y
SPREAD_BOUNDS = ((0.1, 0.9), (0.2, 0.8))


class GaussianPriors(nn.Module):
    """`count` maps (1, count, H, W) with maximum 1, from 4 numbers each: centre and spreads.

    `isotropic` ones have one spread, the mean of the two. In eval mode the maps are drawn once
    and kept as a buffer, so that a converter stores them and not the code that draws them.
    """

    maps: Tensor

    def __init__(self, count: int, height: int, width: int, *, isotropic: bool = False) -> None:
        super().__init__()
        self.size = height, width
        self.isotropic = isotropic
        self.mean = nn.Parameter(torch.rand(count, 2) * 0.4 + 0.3)  # x, y
        self.spread = nn.Parameter(torch.rand(count, 2) * 0.25 + 0.05)
        self.register_buffer("maps", torch.empty(0), persistent=False)
        self.register_load_state_dict_post_hook(_draw_after_loading)

    def forward(self) -> Tensor:
        return self.draw() if self.training else self.maps

    def train(self, mode: bool = True) -> GaussianPriors:
        if not mode:
            self.keep()
        return super().train(mode)

    @torch.no_grad()
    def keep(self) -> None:
        """Draws the maps that eval mode gives, from the numbers as they are now."""
        self.maps = self.draw().contiguous()

    def draw(self) -> Tensor:
        """exp(-(x - mean_x)^2 / (2 spread_x^2) - the same of y), divided by its maximum.

        x runs over 0..1, and y over the part of 0..1 that a picture as wide has, centred.
        """
        height, width = self.size
        device, extent = self.mean.device, height / width
        x = torch.linspace(0, 1, width, device=device)
        y = torch.linspace((1 - extent) / 2, (1 + extent) / 2, height, device=device)
        spread = _clipped(self.spread, SPREAD_BOUNDS)
        if self.isotropic:
            spread = spread.mean(1, keepdim=True).expand(-1, 2)
        mean = _clipped(self.mean, MEAN_BOUNDS)
        along_x = _exponent(x, mean[:, :1], spread[:, :1])[:, None, :]  # (count, 1, W)
        along_y = _exponent(y, mean[:, 1:], spread[:, 1:])[:, :, None]  # (count, H, 1)
        maps = torch.exp(-along_x - along_y)
        return (maps / maps.amax((1, 2), keepdim=True))[None]


def _clipped(pairs: Tensor, bounds: tuple[tuple[float, float], ...]) -> Tensor:
    columns = [pairs[:, i].clamp(*bound) for i, bound in enumerate(bounds)]
    return torch.stack(columns, 1)


def _exponent(at: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    return (at - mean) ** 2 / (2 * spread**2 + EPSILON)


def _draw_after_loading(module: nn.Module, _: object) -> None:
    assert isinstance(module, GaussianPriors)
    if not module.training:
        module.keep()
