"""From a mask to a matte, and three portrait styles made with it.

Masks and mattes are (H, W) float32 in 0..1, pictures (H, W, 3) float32 in 0..1, sRGB.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from model_defs.procedures.arrays import Picture, Plane

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Rec. 709 weights."""


def feather(mask: Plane, radius: float, shrink: float = 0.0) -> Plane:
    """A matte whose edge falls from 1 to 0 over 2 * radius pixels around the mask's border.

    Made from the signed distance to the border (the mask at 0.5), so that the gradient is at
    most 1 / (2 * radius) a pixel along rows and columns, however ragged the mask is. `shrink`
    moves the edge inwards by that many pixels, which hides a fringe of background.
    """
    if radius <= 0:
        raise ValueError(f"radius {radius} is not positive")
    inside = mask > 0.5
    if inside.all() or not inside.any():
        return inside.astype(np.float32)
    distance = np.where(
        inside,
        ndimage.distance_transform_edt(inside) - 0.5,
        0.5 - ndimage.distance_transform_edt(~inside),
    )
    return (0.5 + (distance - shrink) / (2 * radius)).clip(0, 1).astype(np.float32)


def composite(front: Picture, back: Picture, matte: Plane) -> Picture:
    """front * matte + back * (1 - matte)."""
    alpha = matte[..., None]
    return (front * alpha + back * (1 - alpha)).astype(np.float32)


def grey(picture: Picture) -> Plane:
    """The picture's luma, (H, W)."""
    return (picture @ LUMA).astype(np.float32)


def double_exposure(
    portrait: Picture, matte: Plane, second: Picture, paper: float = 0.95
) -> Picture:
    """The second picture inside the person's silhouette, screened over their shadows.

    `second` has the portrait's size; `paper` is the grey around the person.
    """
    shade = grey(portrait)[..., None]
    screened = np.float32(1) - (1 - second * (1 - shade)) * (1 - shade)
    return composite(screened, np.full(portrait.shape, paper, np.float32), matte)


def stencil(
    portrait: Picture,
    matte: Plane,
    *,
    ink: tuple[float, float, float] = (0.1, 0.1, 0.12),
    paper: tuple[float, float, float] = (0.96, 0.89, 0.76),
    softness: float = 0.05,
) -> Picture:
    """The person in two colours, cut at their median luma, on plain paper."""
    shade = grey(portrait)
    inside = shade[matte > 0.5]
    middle = float(np.median(inside)) if inside.size else 0.5
    light = ((shade - middle) / (2 * softness) + 0.5).clip(0, 1)[..., None]
    ground = np.broadcast_to(np.array(paper, np.float32), portrait.shape)
    cut = ground * light + np.array(ink, np.float32) * (1 - light)
    return composite(cut, ground, matte)


def colour_pop(portrait: Picture, matte: Plane, dim: float = 0.6) -> Picture:
    """The person in colour before a grey background that is `dim` times as light."""
    back = np.repeat(grey(portrait)[..., None] * dim, 3, axis=2)
    return composite(portrait, back, matte)
