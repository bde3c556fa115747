"""What solids are made of: patterns in space, so that no surface has a seam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_defs.scenes.camera import Vectors

Colour = tuple[float, float, float]
"""RGB in 0..1, of linear light."""

WAVES = 6


@dataclass(frozen=True)
class Surface:
    """Two colours mixed by a pattern, which repeats about every `scale` metres."""

    first: Colour
    second: Colour = (0.0, 0.0, 0.0)
    pattern: str = "plain"
    scale: float = 0.2
    seed: int = 0
    gloss: float = 0.0

    def colours(self, points: Vectors) -> Vectors:
        """The colour at points (N, 3), in metres from the solid's centre along its axes."""
        share = PATTERNS[self.pattern](points / np.float32(self.scale), self.seed)[:, None]
        first, second = np.array(self.first, np.float32), np.array(self.second, np.float32)
        return (first * share + second * (1 - share)).astype(np.float32)


Share = NDArray[np.float32]


def _plain(points: Vectors, seed: int) -> Share:
    return np.ones(len(points), np.float32)


def _checks(points: Vectors, seed: int) -> Share:
    return (np.floor(points).sum(1).astype(np.int64) % 2).astype(np.float32)


def _stripes(points: Vectors, seed: int) -> Share:
    return (np.sin(2 * np.pi * (points @ _directions(seed)[0])) > 0).astype(np.float32)


def _dots(points: Vectors, seed: int) -> Share:
    cell = points - np.floor(points) - np.float32(0.5)
    return ((cell * cell).sum(1) < 0.12).astype(np.float32)


def _planks(points: Vectors, seed: int) -> Share:
    """Boards along z, each of its own shade, with gaps."""
    across = points[:, 0]
    board = np.floor(across)
    shade = np.sin(board * 12.9898 + seed) * 43758.547
    gap = np.abs(across - board - np.float32(0.5)) > 0.48
    return np.where(gap, 0, 0.6 + 0.4 * (shade - np.floor(shade))).astype(np.float32)


def _clouds(points: Vectors, seed: int) -> Share:
    """A sum of plane waves, each finer and weaker than the one before."""
    finer = np.float32(1.6) ** np.arange(WAVES, dtype=np.float32)
    phases = points @ (_directions(seed) * finer[:, None]).T * 3 + _phases(seed)
    return 0.5 + (np.sin(phases) / finer).sum(1) / (2 * (1 / finer).sum())


def _marble(points: Vectors, seed: int) -> Share:
    return 1 - np.abs(np.sin(6 * _clouds(points, seed) + 3 * points[:, 1])) ** 3


PATTERNS: dict[str, Callable[[Vectors, int], Share]] = {
    "plain": _plain,
    "checks": _checks,
    "stripes": _stripes,
    "dots": _dots,
    "planks": _planks,
    "clouds": _clouds,
    "marble": _marble,
}


def _directions(seed: int) -> Vectors:
    drawn = np.random.default_rng(seed).normal(size=(WAVES, 3))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def _phases(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed + 1).uniform(0, 2 * np.pi, WAVES).astype(np.float32)
