"""Golden pictures on disk: PNGs of 8 bits that say in their own text what their levels mean."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from model_defs.errors import BadPicture
from model_defs.spec import TensorSpec
from toolchain.bundle.files import write_whole
from toolchain.bundle.reading import DataFile, StrictModel, json_object, validated

KEY = "mlship"
LEVELS = 255
REMEDY = "delete it, then: mlship ci, mlship approve"


class PictureRange(StrictModel):
    """What the darkest and the brightest level of a golden picture stand for."""

    low: float
    high: float


def bounds(spec: TensorSpec, like: np.ndarray) -> tuple[float, float]:
    """The range that is shown: the spec's, or that of these values where the spec has none."""
    finite = like[np.isfinite(like)].astype(np.float64)  # booleans have no minimum
    low = float(finite.min(initial=0.0)) if spec.low is None else spec.low
    high = float(finite.max(initial=0.0)) if spec.high is None else spec.high
    return (low, high) if high > low else (low, low + 1)


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values between `low` and `high` as 0 to 1; NaN and what lies below are 0."""
    return np.nan_to_num((values.astype(np.float64) - low) / (high - low)).clip(0, 1)


def packed(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """(1, C, H, W) values as 8-bit levels, (H, W, C)."""
    levels = np.rint(scaled(values[0], low, high) * LEVELS)
    return levels.astype(np.uint8).transpose(1, 2, 0)


def unpacked(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    return pixels.transpose(2, 0, 1)[None].astype(np.float64) / LEVELS * (high - low) + low


def write(path: Path, values: np.ndarray, low: float, high: float) -> None:
    """Write values between `low` and `high`. Raises CannotWrite."""
    file, text = io.BytesIO(), PngImagePlugin.PngInfo()
    text.add_text(KEY, PictureRange(low=low, high=high).model_dump_json())
    Image.fromarray(packed(values, low, high).squeeze()).save(file, "PNG", pnginfo=text)
    write_whole(path, file.getvalue())


def read(path: Path) -> tuple[np.ndarray, float, float]:
    """A golden picture's values and their range; BadPicture for one that we did not write."""
    try:
        with Image.open(path) as image:
            text = getattr(image, "text", {})[KEY]
            pixels = np.asarray(image)
    except (OSError, UnidentifiedImageError, KeyError, ValueError, TypeError) as error:
        raise BadPicture(
            f"this is no golden picture: {error}", where=str(path), do=REMEDY
        ) from error
    file = DataFile("the range of this golden picture", str(path), BadPicture, REMEDY)
    about = validated(PictureRange, json_object(text, file), file)
    values = unpacked(pixels.reshape(*pixels.shape[:2], -1), about.low, about.high)
    return values, about.low, about.high
