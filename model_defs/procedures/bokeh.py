"""What depth is for: depth of field, grading by depth, stickers that scenes hide.

Depth comes as nearness: relative inverse depth in 0..1, 1 is near, as the depth models give
it. In inverse depth the thin-lens law is linear: the circle of confusion of a point is
A * |D - D_focus|. Pictures are (H, W, 3) float32 in 0..1, sRGB unless said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model_defs.procedures.arrays import Picture, Plane, Point

GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
PATCH = 5
"""The side of the patch whose median depth a tap focuses on, in pixels."""


def to_linear(srgb: Picture) -> Picture:
    """sRGB in 0..1 to linear light (IEC 61966-2-1)."""
    low, high = srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4
    return np.where(srgb <= 0.04045, low, high).astype(np.float32)


def to_srgb(linear: Picture) -> Picture:
    """The inverse of `to_linear`, clipped to 0..1."""
    linear = linear.clip(0, 1)
    high = 1.055 * linear ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, linear * 12.92, high).astype(np.float32)


def upsample(nearness: Plane, guide: Picture, sigma: float = 0.1) -> Plane:
    """Nearness (h, w) at the guide's size (H, W, 3), its edges where the picture's are.

    Joint bilateral upsampling (Kopf 2007): each pixel is the mean of the 5 x 5 coarse values
    around it, weighted by distance and by likeness of colour; `sigma` is what differs in 0..1.
    """
    height, width = guide.shape[:2]
    coarse = _shrunk(guide, nearness.shape)
    rows = (np.arange(height) + 0.5) * nearness.shape[0] / height - 0.5
    columns = (np.arange(width) + 0.5) * nearness.shape[1] / width - 0.5
    total = np.zeros((height, width), np.float32)
    weights = np.zeros((height, width), np.float32)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            y, x = np.rint(rows).astype(int) + dy, np.rint(columns).astype(int) + dx
            near = np.exp(-0.5 * ((y - rows)[:, None] ** 2 + (x - columns) ** 2))
            y, x = y.clip(0, nearness.shape[0] - 1), x.clip(0, nearness.shape[1] - 1)
            differs = ((guide - coarse[y][:, x]) ** 2).sum(axis=2) / (2 * sigma**2)
            weight = (near * (np.exp(-differs) + 1e-6)).astype(np.float32)
            total += weight * nearness[y][:, x]
            weights += weight
    return total / weights


def _shrunk(picture: Picture, shape: tuple[int, ...]) -> Picture:
    """The picture's mean over each coarse cell, (h, w, 3)."""
    size = (shape[1], shape[0])
    planes = [
        Image.fromarray(np.ascontiguousarray(picture[..., c], np.float32)).resize(
            size, Image.Resampling.BOX
        )
        for c in range(3)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


def focus_at(nearness: Plane, x: int, y: int) -> float:
    """The nearness under a tap at column x, row y: the median of a 5 x 5 patch."""
    half = PATCH // 2
    rows = slice(max(y - half, 0), y + half + 1)
    return float(np.median(nearness[rows, max(x - half, 0) : x + half + 1]))


def focus_on_all(nearness: Plane, points: Iterable[Point]) -> tuple[float, float]:
    """A focus and a depth of field (both in nearness) that keep all (x, y) sharp."""
    found = [focus_at(nearness, x, y) for x, y in points]
    return (max(found) + min(found)) / 2, (max(found) - min(found)) / 2


def blur_radius(
    nearness: Plane,
    focus: float,
    aperture: float,
    *,
    field: float = 0.0,
    largest: float = np.inf,
) -> Plane:
    """The circle of confusion's radius in pixels: A * max(|D - D_focus| - field, 0), bounded.

    `aperture` is the radius at a distance of 1 in nearness, `field` what stays sharp.
    """
    radius = aperture * np.maximum(np.abs(nearness - focus) - field, 0)
    return np.minimum(radius, largest).astype(np.float32)


def depth_of_field(
    picture: Picture,
    nearness: Plane,
    focus: float,
    aperture: float,
    *,
    field: float = 0.0,
    taps: int = 96,
) -> Picture:
    """The picture with a shallow depth of field; aperture 0 is the picture itself.

    One gather in linear light over golden-angle taps: a neighbour counts where its own circle
    of confusion reaches the pixel. A neighbour behind the pixel reaches at most twice the
    pixel's own circle, so that a blurred background does not bleed into a sharp subject.
    """
    radius = blur_radius(nearness, focus, aperture, field=field)
    reach = float(radius.max())
    if reach == 0:
        return picture.copy()
    light = to_linear(picture)
    total = np.zeros_like(light)
    weights = np.zeros(nearness.shape, np.float32)
    for dy, dx, distance in spiral(reach, taps):
        behind = _shifted(nearness, dy, dx) < nearness
        reaches = _shifted(radius, dy, dx)
        reaches = np.where(behind, np.minimum(reaches, 2 * radius), reaches)
        weight = (reaches - distance + 0.5).clip(0, 1)
        total += weight[..., None] * _shifted(light, dy, dx)
        weights += weight
    blurred = to_srgb(total / weights[..., None])
    touched = (weights > 1) | (radius > 0)
    return np.where(touched[..., None], blurred, picture).astype(np.float32)


def spiral(reach: float, taps: int) -> Iterator[tuple[int, int, float]]:
    """Whole-pixel offsets (dy, dx) that fill a disc evenly, and their distance; (0, 0) first.

    Tap k lies at radius reach * sqrt(k / taps) and k golden angles (Vogel 1979); each pixel is
    visited once.
    """
    seen = set()
    for k in range(taps + 1):
        distance = reach * np.sqrt(k / taps)
        offset = (
            round(distance * np.sin(k * GOLDEN_ANGLE)),
            round(distance * np.cos(k * GOLDEN_ANGLE)),
        )
        if offset not in seen:
            seen.add(offset)
            yield (*offset, float(np.hypot(*offset)))


def _shifted(array: NDArray[np.float32], dy: int, dx: int) -> NDArray[np.float32]:
    """The neighbour at (dy, dx) of each pixel; the border's own value beyond it."""
    height, width = array.shape[:2]
    rows = (np.arange(height) + dy).clip(0, height - 1)
    columns = (np.arange(width) + dx).clip(0, width - 1)
    return array[rows][:, columns]


def grade(
    picture: Picture,
    nearness: Plane,
    focus: float,
    *,
    stops: float = 1.0,
    softness: float = 0.1,
) -> Picture:
    """Lighten what is nearer than the focus and darken what is behind it, by `stops` of light.

    `softness` is the width of the transition in nearness; at the focus nothing changes.
    """
    side = np.tanh((nearness - focus) / max(softness, 1e-6))
    return to_srgb(to_linear(picture) * np.exp2(stops * side)[..., None])


def place_sticker(
    picture: Picture,
    nearness: Plane,
    sticker: NDArray[np.float32],
    *,
    left: int,
    top: int,
    at: float,
) -> Picture:
    """Lay an (h, w, 4) RGBA sticker in 0..1 into the scene at nearness `at`.

    It is hidden exactly where the scene is nearer, and cut at the picture's borders.
    """
    height, width = picture.shape[:2]
    rows = slice(max(top, 0), min(top + sticker.shape[0], height))
    columns = slice(max(left, 0), min(left + sticker.shape[1], width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return picture.copy()
    part = sticker[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    alpha = np.where(nearness[rows, columns] > at, 0, part[..., 3])[..., None]
    result = picture.copy()
    result[rows, columns] = part[..., :3] * alpha + picture[rows, columns] * (1 - alpha)
    return result
