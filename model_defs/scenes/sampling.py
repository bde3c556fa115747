"""Samples of a data set that needs no files: number n is always the same picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model_defs.procedures.arrays import Mask, Plane
from model_defs.scenes import labels, layout
from model_defs.scenes.render import Scene, View, render


@dataclass(frozen=True)
class Sample:
    """A picture and what is known about it; `hole` is a mask to inpaint."""

    view: View
    saliency: Plane
    hole: Mask


def sample(seed: int, height: int, width: int, *, portraits: float = 0.5) -> Sample:
    """Sample number `seed` at a size, of which a share are portraits.

    Raises ValueError for a size below 16 pixels, where nothing can be told apart.
    """
    if min(height, width) < 16:
        raise ValueError(f"{width} x {height} pixels are too few for a scene")
    random = np.random.default_rng(seed)
    view = render(scene(random, height, width, portraits), random)
    return Sample(view, labels.saliency(view), labels.hole(random, height, width))


def scene(random: np.random.Generator, height: int, width: int, portraits: float) -> Scene:
    """A scene of one kind or the other."""
    draw = layout.portrait if random.random() < portraits else layout.still_life
    return draw(random, height, width)
