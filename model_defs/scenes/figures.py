"""Figures of people: a head with hair and a face, a neck, shoulders, and the rest below."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from model_defs.scenes.colours import cloth, hair, skin
from model_defs.scenes.solids import Solid, Triple
from model_defs.scenes.surfaces import Surface

TALL = 1.7
HEAD = 0.25
"""Height of a figure and of its head with hair, in metres, at scale 1."""

EYE_WHITE = Surface((0.75, 0.75, 0.75), gloss=0.4)
PUPIL = Surface((0.02, 0.02, 0.03), gloss=0.6)


@dataclass(frozen=True)
class Posture:
    """Where a figure stands, how it is turned (0: towards -z, in radians) and scaled.

    `lean` tilts head and shoulders, in radians.
    """

    at: tuple[float, float] = (0.0, 2.0)
    turn: float = 0.0
    lean: float = 0.0
    scale: float = 1.0


def figure(posture: Posture, instance: int, random: np.random.Generator) -> tuple[Solid, ...]:
    """The solids of a person with feet on the floor, all of one instance."""
    bare = skin(random)
    parts = (*_head(bare, random), *_body(bare, random))
    return tuple(_placed(part, posture, instance) for part in parts)


def _placed(part: Solid, posture: Posture, instance: int) -> Solid:
    """A part given for a figure at the origin that looks along -z."""
    x, y, z = (posture.scale * value for value in part.centre)
    hip = 0.9 * posture.scale
    if y > hip:
        x, y = (
            x * math.cos(posture.lean) - (y - hip) * math.sin(posture.lean),
            x * math.sin(posture.lean) + (y - hip) * math.cos(posture.lean) + hip,
        )
    sine, cosine = math.sin(posture.turn), math.cos(posture.turn)
    centre = posture.at[0] + cosine * x + sine * z, y, posture.at[1] - sine * x + cosine * z
    return replace(
        part,
        centre=centre,
        size=_scaled(part.size, posture.scale),
        turn=posture.turn,
        roll=part.roll + posture.lean,
        instance=instance,
        person=True,
    )


def _scaled(size: Triple, scale: float) -> Triple:
    return size[0] * scale, size[1] * scale, size[2] * scale


def _head(face: Surface, random: np.random.Generator) -> tuple[Solid, ...]:
    """Centred at a height of 1.57; the face looks along -z."""
    crown = hair(random)
    broad, long = random.uniform(0.92, 1.08, 2)
    wide, tall, deep = 0.075 * broad, 0.108 * long, 0.092
    lips = Surface(tuple(np.clip(np.array(face.first) * (0.95, 0.5, 0.5), 0, 1)))
    volume, back, fringe = random.uniform(0.006, 0.03), random.uniform(0.012, 0.03), 0.028
    parts = [
        Solid("ball", (0, 1.57, 0), (wide, tall, deep), face),
        Solid("ball", (0, 1.57 + fringe, back), (wide + volume, tall + 0.004, deep + 0.004), crown),
        Solid("ball", (0, 1.545, -deep), (0.013, 0.022, 0.02), face),
        Solid("ball", (0, 1.505, -0.87 * deep), (0.026, 0.008, 0.012), lips),
    ]
    for side in (-1, 1):
        eye = side * 0.42 * wide
        parts += [
            Solid("ball", (side * wide, 1.565, 0.01), (0.012, 0.03, 0.02), face),
            Solid("ball", (eye, 1.585, -0.86 * deep), (0.014, 0.009, 0.014), EYE_WHITE),
            Solid("ball", (eye, 1.585, -0.98 * deep), (0.006, 0.006, 0.005), PUPIL),
            Solid("ball", (eye, 1.605, -0.88 * deep), (0.019, 0.004, 0.012), crown),
        ]
    if random.random() < 0.45:  # long hair falls behind the shoulders
        length = random.uniform(0.08, 0.2)
        size = (wide + volume + 0.01, length, 0.05)
        parts.append(Solid("ball", (0, 1.57 - 0.7 * length, back + 0.065), size, crown))
    return tuple(parts)


def _body(bare: Surface, random: np.random.Generator) -> tuple[Solid, ...]:
    top, trousers = cloth(random), cloth(random)
    wide = random.uniform(0.17, 0.23)
    parts = [
        Solid("cylinder", (0, 1.44, 0.01), (0.05, 0.07, 0.052), bare),
        Solid("ball", (0, 1.33, 0.01), (wide, 0.085, 0.105), top),
        Solid("ball", (0, 1.12, 0.01), (0.83 * wide, 0.3, 0.12), top),
        Solid("cylinder", (0, 0.9, 0.01), (0.75 * wide, 0.1, 0.11), trousers),
    ]
    for side in (-1, 1):
        out, spread = side * (wide + 0.01), random.uniform(0.05, 0.3)
        swing = side * 0.25 * math.sin(spread)
        parts += [
            Solid("ball", (out + swing, 1.1, 0.01), (0.05, 0.29, 0.055), top, roll=side * spread),
            Solid("ball", (out + 2 * swing, 0.8, -0.01), (0.035, 0.07, 0.04), bare),
            Solid("cylinder", (side * 0.09, 0.43, 0.01), (0.075, 0.43, 0.08), trousers),
            Solid("ball", (side * 0.09, 0.04, -0.05), (0.05, 0.04, 0.12), PUPIL),
        ]
    return tuple(parts)
