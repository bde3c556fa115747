"""Colours and surfaces drawn at random: bright and varied, skin and hair as people have them."""

from __future__ import annotations

import colorsys

import numpy as np

from model_defs.scenes.surfaces import PATTERNS, Colour, Surface

SKINS: tuple[Colour, ...] = (
    (0.78, 0.55, 0.44),
    (0.66, 0.42, 0.31),
    (0.51, 0.30, 0.20),
    (0.33, 0.18, 0.11),
    (0.17, 0.09, 0.06),
)
HAIRS: tuple[Colour, ...] = (
    (0.02, 0.018, 0.016),
    (0.09, 0.05, 0.03),
    (0.25, 0.13, 0.06),
    (0.55, 0.38, 0.18),
    (0.38, 0.12, 0.05),
    (0.45, 0.45, 0.45),
)
SEEDS = 1 << 16


def colour(random: np.random.Generator, *, pale: bool = False) -> Colour:
    """Any hue; `pale` as walls are."""
    saturation = random.uniform(0.0, 0.5) if pale else random.uniform(0.2, 1.0)
    value = random.uniform(0.4, 0.95) if pale else random.uniform(0.25, 1.0)
    return colorsys.hsv_to_rgb(random.random(), saturation, value)


def near(other: Colour, random: np.random.Generator, spread: float = 0.1) -> Colour:
    """A colour that differs from another a little, mostly in lightness."""
    shade, tint = random.uniform(1 - spread, 1 + spread), random.uniform(-spread, spread, 3) / 3
    r, g, b = np.clip(np.array(other) * shade + tint * np.array(other), 0.01, 1)
    return float(r), float(g), float(b)


def skin(random: np.random.Generator) -> Surface:
    tone = near(SKINS[random.integers(len(SKINS))], random)
    return Surface(tone, near(tone, random, 0.15), "clouds", 0.1, _seed(random), gloss=0.08)


def hair(random: np.random.Generator) -> Surface:
    tone = near(HAIRS[random.integers(len(HAIRS))], random, 0.2)
    return Surface(tone, near(tone, random, 0.5), "clouds", 0.03, _seed(random), gloss=0.15)


def cloth(random: np.random.Generator) -> Surface:
    """Plain more often than not."""
    pattern = random.choice(["plain", "plain", "clouds", "stripes", "checks", "dots"])
    scale = random.uniform(0.03, 0.1)
    first = colour(random)
    second = colour(random) if pattern != "clouds" else near(first, random, 0.4)
    return Surface(first, second, str(pattern), scale, _seed(random))


def wall(random: np.random.Generator) -> Surface:
    pattern = random.choice(["plain", "clouds", "stripes", "checks", "marble"])
    first = colour(random, pale=True)
    return Surface(
        first, near(first, random, 0.35), str(pattern), random.uniform(0.2, 0.9), _seed(random)
    )


def floor(random: np.random.Generator) -> Surface:
    pattern = random.choice(["planks", "checks", "marble", "clouds", "plain"])
    first = colour(random, pale=True)
    second = near(first, random, 0.6)
    gloss = random.uniform(0, 0.3)
    return Surface(first, second, str(pattern), random.uniform(0.12, 0.6), _seed(random), gloss)


def thing(random: np.random.Generator, size: float) -> Surface:
    """Of an object `size` metres large."""
    pattern = random.choice(list(PATTERNS))
    first, second = colour(random), colour(random)
    scale = size * random.uniform(0.15, 0.7)
    gloss = random.choice([0.0, 0.0, 0.3, 0.8])
    return Surface(first, second, str(pattern), scale, _seed(random), float(gloss))


def _seed(random: np.random.Generator) -> int:
    return int(random.integers(SEEDS))
