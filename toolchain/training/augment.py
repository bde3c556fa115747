"""Changes that vary examples of scenes; what a pixel shows never moves, but by mirror."""

from __future__ import annotations

import numpy as np
from PIL import Image

from model_defs.procedures.arrays import Pixels
from model_defs.scenes.render import View


def mirrored(view: View, random: np.random.Generator) -> View:
    """The view or, half of the time, its mirror image."""
    if random.random() < 0.5:
        return view
    planes = (view.picture, view.depth, view.instances, view.people)
    return View(*(np.ascontiguousarray(plane[:, ::-1]) for plane in planes))


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
    values = values ** np.exp(random.normal(0, 0.25)) * np.exp(random.normal(0, 0.08, 3))
    middle = values.mean()
    values = (values - middle) * random.uniform(0.6, 1.3) + middle + random.normal(0, 0.08)
    values += random.normal(0, random.uniform(0, 0.04), picture.shape)
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8)
