"""Fixtures of this room: nets built as the toolchain builds them, and a natural-looking picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model_defs import zoo


@pytest.fixture
def built() -> Callable[[str], nn.Module]:
    """Builds a model of the zoo under seed 0, in eval mode."""

    def build(name: str) -> nn.Module:
        torch.manual_seed(0)
        return zoo.load(name).build().eval()

    return build


@pytest.fixture(scope="session")
def picture() -> Callable[[int, int], Tensor]:
    """A picture with the 1/f spectrum of photographs; (1, 3, H, W) in 0..1."""

    def draw(height: int, width: int) -> Tensor:
        generator = np.random.default_rng(0)
        power = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width) ** 2
        power[0, 0] = 1.0
        planes = []
        for _ in range(3):
            spectrum = np.fft.rfft2(generator.standard_normal((height, width))) / np.sqrt(power)
            plane = np.fft.irfft2(spectrum, s=(height, width))
            planes.append((plane - plane.min()) / np.ptp(plane))
        luminance = planes[0]
        rgb = np.stack([0.7 * luminance + 0.3 * plane for plane in planes])
        return torch.from_numpy(rgb[None].astype(np.float32))

    return draw
