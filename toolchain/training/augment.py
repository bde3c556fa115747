"""Changes that vary examples of scenes, all of them the same for the picture and its labels."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from model_defs.pixels import open_picture
from model_defs.procedures.arrays import Pixels
from model_defs.scenes.render import View

TEXTURES = Path(__file__).parents[1] / "data" / "photos" / "textures"
"""Photographs of surfaces, which no evaluation shows."""


def cut(
    view: View,
    height: int,
    width: int,
    random: np.random.Generator,
    *,
    least: float = 0.5,
    down: float = 1.0,
) -> View:
    """A part of a view, at least a share of its sides, resized to a height and width.

    Of the way that it could lie below the top it goes a random part, at most `down`.
    """
    rows, columns = view.instances.shape
    share = random.uniform(least, 1)
    scale = share * min(rows / height, columns / width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    top = round(random.uniform(0, (rows - h) * down))
    left = round(random.uniform(0, columns - w))
    return resized(view, (left, top, left + w, top + h), height, width)


def resized(view: View, box: tuple[int, int, int, int], height: int, width: int) -> View:
    """The part (left, top, right, bottom) of a view at another size; labels are not mixed."""
    left, top, right, bottom = box
    size = (width, height)

    def plane(values: np.ndarray) -> np.ndarray:
        part = Image.fromarray(values[top:bottom, left:right])
        return np.asarray(part.resize(size, Image.Resampling.NEAREST))

    picture = Image.fromarray(view.picture[top:bottom, left:right]).resize(size)
    people = plane(view.people.astype(np.uint8)).astype(bool)
    return View(np.asarray(picture), plane(view.depth), plane(view.instances), people)


def mirrored(view: View, random: np.random.Generator) -> View:
    """The view or, half of the time, its mirror image."""
    if random.random() < 0.5:
        return view
    planes = (view.picture, view.depth, view.instances, view.people)
    return View(*(np.ascontiguousarray(plane[:, ::-1]) for plane in planes))


def textured(view: View, random: np.random.Generator, *, replaced: float = 0.0) -> Pixels:
    """The view's picture, the room and some things of which have a photograph's texture.

    The texture varies their light; with probability `replaced` it takes the room's place.
    """
    picture = view.picture.astype(np.float32)
    for number in np.unique(view.instances):
        if random.random() < 0.35:
            mask = view.instances == number
            texture = _texture(random, *mask.shape)
            if number == 0 and random.random() < replaced:
                picture[mask] = texture[mask] * random.uniform(0.6, 1.6, 3)
            else:
                strength = random.uniform(0.2, 1.0)
                picture[mask] *= (1 + strength * (texture / texture.mean() - 1))[mask]
    return np.rint(picture.clip(0, 255)).astype(np.uint8)


@cache
def _photographs() -> tuple[Pixels, ...]:
    return tuple(open_picture(path) for path in sorted(TEXTURES.glob("*.jpg")))


def _texture(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A part of a photograph, (H, W, 3) float32 in 1..255."""
    photograph = _photographs()[random.integers(len(_photographs()))]
    rows, columns = photograph.shape[:2]
    side = int(random.integers(48, min(rows, columns) + 1))
    top, left = int(random.integers(rows - side + 1)), int(random.integers(columns - side + 1))
    part = Image.fromarray(photograph[top : top + side, left : left + side])
    return np.maximum(np.asarray(part.resize((width, height)), np.float32), 1)


def photographed(picture: Pixels, random: np.random.Generator) -> Pixels:
    """Less sharp in three of ten, as if enlarged."""
    if random.random() >= 0.3:
        return picture
    share, image = random.uniform(0.4, 0.9), Image.fromarray(picture)
    small = max(8, round(image.width * share)), max(8, round(image.height * share))
    return np.asarray(image.resize(small).resize(image.size))


def relit(picture: Pixels, random: np.random.Generator) -> Pixels:
    """Other brightness, contrast, gamma and white balance, and noise."""
    values = picture.astype(np.float32) / 255
    gamma, balance = np.exp(random.normal(0, 0.25)), np.exp(random.normal(0, 0.08, 3))
    values = values ** np.float32(gamma) * balance.astype(np.float32)
    middle = values.mean()
    contrast, light = random.uniform(0.6, 1.3), middle + random.normal(0, 0.08)
    values = (values - middle) * np.float32(contrast) + np.float32(light)
    grain = random.standard_normal(picture.shape, np.float32)
    values += grain * np.float32(random.uniform(0, 0.04))
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8)
