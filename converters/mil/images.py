"""Pictures in and out of a program, as Core ML hands them over.

An image input is declared as a picture of a colour layout; Core ML turns its pixels into the
tensor that the program takes, (1, C, H, W) with values 0..255. Scale and bias of coremltools'
`ImageType` are operations of the program itself. An image output is a tensor of 0..255 whose
values are clamped and rounded to bytes; GRAYSCALE_FLOAT16 keeps them as they are. Whether
Core ML rounds or cuts was not seen here: allow one unit when comparing bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.mil.package import Package
from model_defs.errors import BadArtifact, BadPicture, UnsupportedOperation

LAYOUTS: dict[int, str] = {10: "GRAYSCALE", 20: "RGB", 30: "BGR", 40: "GRAYSCALE_FLOAT16"}
"""`ColorSpace` in FeatureTypes.proto."""


@dataclass(frozen=True)
class ImagePort:
    """An image input or output: its name, size and colour layout."""

    name: str
    height: int
    width: int
    layout: str

    @property
    def channels(self) -> int:
        return 3 if self.layout in ("RGB", "BGR") else 1


def image_ports(features: Any) -> dict[str, ImagePort]:
    """The image features among a description's inputs or outputs."""
    found = {}
    for feature in features:
        if feature.type.WhichOneof("Type") != "imageType":
            continue
        image = feature.type.imageType
        if image.colorSpace not in LAYOUTS:
            raise UnsupportedOperation(f"image '{feature.name}' has no known colour layout")
        layout = LAYOUTS[image.colorSpace]
        found[feature.name] = ImagePort(feature.name, image.height, image.width, layout)
    return found


def run_images(package: Package, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Runs the default function with pictures where it declares images.

    Pictures are RGB bytes of shape (H, W, 3), or (H, W) where the layout is gray. Results that
    are images come back the same way, GRAYSCALE_FLOAT16 ones as float16 (H, W).
    """
    takes = image_ports(package.description.input)
    gives = image_ports(package.description.output)
    feed = {n: to_tensor(a, takes[n]) if n in takes else a for n, a in inputs.items()}
    dtypes = {v.name: v.type.numpy for v in package.main.inputs if hasattr(v.type, "numpy")}
    outputs = package.main.run({n: np.asarray(a, dtypes.get(n, a.dtype)) for n, a in feed.items()})
    return {n: to_picture(a, gives[n]) if n in gives else a for n, a in outputs.items()}


def to_tensor(picture: np.ndarray, port: ImagePort) -> np.ndarray:
    """A picture as the tensor (1, C, H, W) of 0..255 in the port's colour order."""
    gray = port.channels == 1
    expected = (port.height, port.width) if gray else (port.height, port.width, 3)
    wanted = np.float16 if port.layout == "GRAYSCALE_FLOAT16" else np.uint8
    if picture.shape != expected or picture.dtype != wanted:
        raise BadPicture(
            f"image '{port.name}' takes {np.dtype(wanted)}{list(expected)}, "
            f"not {picture.dtype}{list(picture.shape)}"
        )
    planes = picture[None] if gray else picture.transpose(2, 0, 1)
    if port.layout == "BGR":
        planes = planes[::-1]
    return np.ascontiguousarray(planes[None], np.float32)


def to_picture(tensor: np.ndarray, port: ImagePort) -> np.ndarray:
    """A tensor (1, C, H, W) as a picture: clamped to 0..255 and rounded to bytes."""
    if tensor.shape != (1, port.channels, port.height, port.width):
        raise BadArtifact(f"image '{port.name}' came out as {list(tensor.shape)}")
    if port.layout == "GRAYSCALE_FLOAT16":
        return tensor[0, 0].astype(np.float16)
    pixels = np.rint(np.nan_to_num(tensor[0].astype(np.float32)).clip(0, 255)).astype(np.uint8)
    if port.layout == "BGR":
        pixels = pixels[::-1]
    return pixels[0] if port.channels == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
