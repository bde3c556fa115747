"""What is asked about a picture: where people look, what a user clicks, what is to be removed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from model_defs.procedures.arrays import Mask, Plane
from model_defs.procedures.clicks import Clicks, Sampling, Strategy, simulate
from model_defs.scenes.render import View

SMALLEST = 0.0015
"""The share of the picture below which an object is not asked for: 400 pixels of 512 x 512."""

FACE = 0.45
"""The upper share of a figure's rows, where its head is."""


def saliency(view: View) -> Plane:
    """Where people look, with maximum 1: faces, then things that stand out, then the middle.

    An object counts by its contrast with the rest of the picture, evenly over its area, so
    that of two the smaller draws as many looks; all is blurred as fixations are.
    """
    height, width = view.instances.shape
    looks = np.zeros((height, width), np.float32)
    colours = view.picture.astype(np.float32) / 255
    around = colours.mean((0, 1))
    for mask in objects(view):
        contrast = float(np.linalg.norm(colours[mask].mean(0) - around))
        if view.people[mask].any():
            looks[face(mask)] += 2.5 / face(mask).sum()
        looks[mask] += (0.3 + contrast) / mask.sum()
    blurred = gaussian_filter(looks, 0.035 * width)
    rows, columns = np.ogrid[:height, :width]
    squared = (rows / height - 0.5) ** 2 + (columns / width - 0.5) ** 2
    middle = np.exp(-squared / (2 * 0.25**2)) / (height * width)
    blurred = blurred * (0.4 + 0.6 * np.exp(-squared / (2 * 0.35**2))) + 0.3 * middle
    return (blurred / blurred.max()).astype(np.float32)


def face(person: Mask) -> Mask:
    """The upper part of a figure, narrowed to its middle row's columns."""
    rows = np.flatnonzero(person.any(1))
    last = rows[0] + max(1, round(FACE * min(len(rows), person.shape[0] // 2)))
    upper = person.copy()
    upper[last:] = False
    return upper


def objects(view: View) -> list[Mask]:
    """The mask of every object that is large enough, in order of their numbers."""
    least = SMALLEST * view.instances.size
    masks = [view.instances == number for number in range(1, int(view.instances.max()) + 1)]
    return [mask for mask in masks if mask.sum() >= least]


def clicks(
    view: View, random: np.random.Generator, sampling: Sampling | None = None
) -> tuple[Mask, Clicks] | None:
    """An object and clicks that a user might give for it; None where there is no object.

    The strategy is drawn from the three of `procedures.clicks`, or two where there is no
    other object.
    """
    found = objects(view)
    if not found:
        return None
    target = found.pop(int(random.integers(len(found))))
    strategies: list[Strategy] = ["background", "outline"]
    if found:
        strategies.append("objects")
    strategy = strategies[int(random.integers(len(strategies)))]
    return target, simulate(target, found, strategy, random, sampling)


def hole(random: np.random.Generator, height: int, width: int) -> Mask:
    """A rectangle or strokes of a brush, each half of the time."""
    draw = rectangle if random.random() < 0.5 else strokes
    return draw(random, height, width)


def rectangle(random: np.random.Generator, height: int, width: int) -> Mask:
    """A quarter to a half of the picture's sides, anywhere inside."""
    h, w = (max(1, round(side * random.uniform(0.25, 0.5))) for side in (height, width))
    top, left = int(random.integers(height - h + 1)), int(random.integers(width - w + 1))
    mask = np.zeros((height, width), bool)
    mask[top : top + h, left : left + w] = True
    return mask


def strokes(random: np.random.Generator, height: int, width: int) -> Mask:
    """1 to 8 strokes of up to 16 straight parts (Wang 2018, for 256 pixels: brush 10 to 20)."""
    scale = min(height, width) / 256
    image = Image.new("1", (width, height))
    pen = ImageDraw.Draw(image)
    for _ in range(int(random.integers(1, 9))):
        brush = max(1, round(random.uniform(10, 20) * scale))
        points = [_point(random, height, width)]
        angle = random.uniform(0, 2 * np.pi)
        for _ in range(int(random.integers(1, 17))):
            angle += random.normal(0, 0.8)
            length = random.uniform(5, 80) * scale
            x = points[-1][0] + length * np.cos(angle)
            y = points[-1][1] + length * np.sin(angle)
            points.append((min(max(x, 0), width - 1), min(max(y, 0), height - 1)))
        pen.line(points, fill=1, width=brush, joint="curve")
        for x, y in (points[0], points[-1]):
            r = brush / 2
            pen.ellipse((x - r, y - r, x + r, y + r), fill=1)
    drawn: NDArray[np.bool_] = np.array(image)
    return drawn


def _point(random: np.random.Generator, height: int, width: int) -> tuple[float, float]:
    return random.uniform(0, width - 1), random.uniform(0, height - 1)
