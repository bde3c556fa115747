"""Tensors as small PNGs that a page holds in itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from model_defs.spec import TensorSpec
from toolchain.ci.golden import bounds, scaled

WIDTH = 220
HEAT = ((255, 255, 255), (253, 224, 160), (240, 150, 70), (190, 45, 60), (60, 5, 50))
SHADES = (
    (13, 8, 60),
    (60, 30, 140),
    (150, 45, 130),
    (225, 90, 85),
    (250, 175, 80),
    (250, 245, 190),
)


@dataclass(frozen=True)
class Tile:
    """A picture of a page, as a data URI, and what stands below it."""

    uri: str
    caption: str


def of_tensor(spec: TensorSpec, values: np.ndarray, like: np.ndarray | None = None) -> str:
    """A data URI of (1, C, H, W) values: colours for pictures, grey for masks, shades for maps.

    The range is the spec's, or that of `like` where the spec has none, so that two tensors
    look the same only if they are.
    """
    like = values if like is None else like
    plane = scaled(values, *bounds(spec, like))
    if spec.kind == "image" and values.shape[1] == 3:
        turn = spec.preprocess is not None and spec.preprocess.colour == "BGR"
        pixels = plane[0].transpose(1, 2, 0)[..., :: -1 if turn else 1]
        return _uri((pixels * 255).astype(np.uint8))
    flat = plane[0].mean(axis=0)
    return _uri(_coloured(flat, SHADES) if spec.kind == "map" else (flat * 255).astype(np.uint8))


def of_difference(want: np.ndarray, got: np.ndarray, tolerance: float) -> tuple[str, float]:
    """A heat map of the largest absolute difference of any channel, and what its darkest means."""
    difference = np.abs(got.astype(np.float64) - want)
    difference[~np.isfinite(difference)] = np.inf
    finite = difference[np.isfinite(difference)]
    top = max(float(finite.max(initial=0.0)), tolerance)
    worst = np.minimum(difference[0].max(axis=0), top)
    return _uri(_coloured(worst / top, HEAT)), top


def _coloured(plane: np.ndarray, ramp: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    """(H, W) in 0..1 -> (H, W, 3), linear between the ramp's colours."""
    stops = np.linspace(0, 1, len(ramp))
    channels = [np.interp(plane, stops, [colour[i] for colour in ramp]) for i in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def _uri(pixels: np.ndarray) -> str:
    image = Image.fromarray(pixels)
    if image.width > WIDTH:
        height = max(1, round(image.height * WIDTH / image.width))
        image = image.resize((WIDTH, height), Image.Resampling.BOX)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
