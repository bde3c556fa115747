"""Pictures to tensors and back, exactly as a specification declares it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from model_defs.errors import BadPicture, BadSpec, MlshipError
from model_defs.files import check_file
from model_defs.spec import Postprocess, Preprocess, TensorSpec

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "area": Image.Resampling.BOX,
}
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is read of what Pillow knows: nothing that runs another program (EPS starts Ghostscript)."""
READABLE = "pass a PNG, JPEG, WebP, GIF, BMP, TIFF or PPM file"
MOST_PIXELS = 200_000_000
ROWS_OF = 1_000_000
"""Pixels of 16 bits that become 8 bits at a time."""


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in a tensor's plane, so that an output can be put back over it.

    The part `source` (left, top, right, bottom, in source pixels) of a picture of `size`
    (width, height) fills the part `target` of a plane of size `plane`.
    """

    size: tuple[int, int]
    plane: tuple[int, int]
    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]


def open_picture(path: Path) -> np.ndarray:
    """Read a picture as (H, W, 3) RGB, 8 bit, upright by its EXIF orientation.

    Transparency is laid over white; 16-bit pictures are scaled to 8. Raises BadPicture.
    """
    return _opened(path, _to_rgb)


def open_cutout(path: Path) -> np.ndarray:
    """Read a picture as (H, W, 4) RGBA, 8 bit, upright, opaque where it has no transparency."""
    return _opened(path, lambda image: _to_8_bit(image).convert("RGBA"))


def _opened(path: Path, convert: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    try:
        if isinstance(path, Path):  # a case of ours is in memory
            check_file(path, "picture", BadPicture, READABLE)
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise BadPicture(
                    f"the picture has {image.width} x {image.height} pixels",
                    where=str(path),
                    do=f"scale it to at most {MOST_PIXELS // 1_000_000} megapixels",
                )
            return np.asarray(convert(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError as error:
        raise BadPicture("not a picture that can be read", where=str(path), do=READABLE) from error
    except MlshipError:
        raise
    except Exception as error:  # a decoder raises whatever damaged bytes lead it to
        what = f"the picture cannot be read: {error}"
        raise BadPicture(what, where=str(path), do=READABLE) from error


def _to_8_bit(image: Image.Image) -> Image.Image:
    if not image.mode.startswith("I") and image.mode != "F":
        return image
    values = np.asarray(image)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        finite = np.isfinite(values.sum(dtype=np.float64))
    if not finite:
        raise ValueError("it holds numbers that are not finite")
    scale = 257 if values.max(initial=0) > 255 else 1
    made = np.empty(values.shape, np.uint8)
    rows = max(1, ROWS_OF // max(1, image.width))
    for top in range(0, image.height, rows):  # in float64 the whole would be four times as large
        part = values[top : top + rows].astype(np.float64) / scale
        made[top : top + rows] = part.clip(0, 255).astype(np.uint8)
    return Image.fromarray(made)


def _to_rgb(image: Image.Image) -> Image.Image:
    image = _to_8_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def save_picture(path: Path, picture: np.ndarray) -> None:
    """Write (H, W) grey or (H, W, 3) RGB, 8 bit; the format is the file name's."""
    Image.fromarray(picture).save(path)


def to_tensor(picture: np.ndarray, spec: TensorSpec) -> tuple[np.ndarray, Placement]:
    """The (1, C, H, W) float32 tensor of an (H, W, 3) 8-bit RGB picture, and where it lies."""
    rule = spec.preprocess
    if rule is None:
        raise BadSpec(f"tensor '{spec.name}' declares no pre-processing, so takes no picture")
    _, _, height, width = spec.shape
    where = place(picture.shape[1], picture.shape[0], width, height, rule)
    left, top, right, bottom = where.target
    plane = np.full((height, width, 3), rule.pad, np.uint8)
    part = Image.fromarray(picture).crop(where.source)
    plane[top:bottom, left:right] = resized(part, right - left, bottom - top, rule.filter)
    mean, std = np.array(rule.mean, np.float32), np.array(rule.std, np.float32)
    values = (_channels(plane, rule) - mean) / std
    return np.ascontiguousarray(values.astype(np.float32).transpose(2, 0, 1)[None]), where


def label_tensor(plane: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """What is known of each pixel of a picture (H, W), as (1, h, w) float32 over spec's plane.

    It lies where `to_tensor` lays the picture; beside it is 0, and values are not mixed.
    """
    rule = spec.preprocess
    assert rule is not None
    _, _, height, width = spec.shape
    where = place(plane.shape[1], plane.shape[0], width, height, rule)
    left, top, right, bottom = where.target
    part = Image.fromarray(plane.astype(np.float32)).crop(where.source)
    laid = np.zeros((1, height, width), np.float32)
    laid[0, top:bottom, left:right] = resized(part, right - left, bottom - top, "nearest")
    return laid


def resized(image: Image.Image, width: int, height: int, name: str) -> Image.Image:
    """The image at another size, along its rows first, then along its columns.

    8-bit pictures are rounded in between, so the order shows; Pillow's own differs by version.
    """
    method = FILTERS[name]
    return image.resize((width, image.height), method).resize((width, height), method)


def _channels(plane: np.ndarray, rule: Preprocess) -> np.ndarray:
    if rule.colour == "GRAY":
        return np.asarray(Image.fromarray(plane).convert("L"), np.float32)[..., None]
    return np.asarray(plane[..., ::-1] if rule.colour == "BGR" else plane, np.float32)


def place(width: int, height: int, to_width: int, to_height: int, rule: Preprocess) -> Placement:
    """Where a picture of width x height lies in a plane, by the resize rule."""
    size, plane = (width, height), (to_width, to_height)
    whole = (0, 0, width, height)
    if rule.resize == "stretch":
        return Placement(size, plane, whole, (0, 0, to_width, to_height))
    if rule.resize == "crop":
        scale = max(to_width / width, to_height / height)
        w = min(width, max(1, round(to_width / scale)))
        h = min(height, max(1, round(to_height / scale)))
        left, top = (width - w) // 2, (height - h) // 2
        box = (left, top, left + w, top + h)
        return Placement(size, plane, box, (0, 0, to_width, to_height))
    scale = min(to_width / width, to_height / height)
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (to_width - w) // 2, (to_height - h) // 2
    return Placement(size, plane, whole, (left, top, left + w, top + h))


def to_picture(tensor: np.ndarray, rule: Postprocess, where: Placement) -> np.ndarray:
    """The 8-bit picture of a (1, C, H, W) output, at the size of the source picture.

    What the input's crop cut away is black. Returns (H, W) grey or (H, W, 3) RGB.
    """
    plane = map_to_source(tensor, rule, where)
    low = float(plane.min()) if rule.low is None else rule.low
    high = float(plane.max()) if rule.high is None else rule.high
    span = high - low if high > low else 1.0
    pixels = np.rint(((plane - low) / span).clip(0, 1) * 255).astype(np.uint8)
    if rule.colour == "GRAY":
        return pixels[..., 0]
    return pixels[..., ::-1] if rule.colour == "BGR" else pixels


def map_to_source(tensor: np.ndarray, rule: Postprocess, where: Placement) -> np.ndarray:
    """A (1, C, h, w) output laid over its source picture, as (H, W, C) float32.

    Only what lies within the target box counts: letterbox padding does not bleed in.
    """
    width, height = where.size
    left, top, right, bottom = where.source
    box = _scaled_box(where, tensor.shape[3], tensor.shape[2])
    result = np.zeros((height, width, tensor.shape[1]), np.float32)
    for channel, values in enumerate(tensor[0].astype(np.float32)):
        part = Image.fromarray(values).crop(box)
        shown = resized(part, right - left, bottom - top, rule.filter)
        result[top:bottom, left:right, channel] = shown
    return result


def _scaled_box(where: Placement, width: int, height: int) -> tuple[int, int, int, int]:
    """The target box in an output's plane, which may be coarser than the input's."""
    sx, sy = width / where.plane[0], height / where.plane[1]
    left, top, right, bottom = where.target
    x, y = round(left * sx), round(top * sy)
    return (x, y, max(x + 1, round(right * sx)), max(y + 1, round(bottom * sy)))
