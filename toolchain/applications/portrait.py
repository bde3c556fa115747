"""The person apart from the background."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from model_defs.errors import BadPicture
from model_defs.pixels import open_picture
from model_defs.procedures import matte
from model_defs.procedures.arrays import Picture, Plane
from toolchain.applications import networks
from toolchain.applications.networks import as_float, write_float


def portrait(
    path: Path, bundle: Path | None, out: Path, style: str, second: Path | None, feather: float
) -> dict[str, Any]:
    """The person on transparency (cutout), or in one of the styles."""
    if style == "double" and second is None:
        raise BadPicture("a double exposure needs another picture", do="--second landscape.jpg")
    if style == "cutout" and out.suffix.lower() not in (".png", ".webp", ".tif", ".tiff"):
        raise BadPicture(f"'{out.suffix}' has no transparency", where=str(out), do="use .png")
    pixels = open_picture(path)
    with networks.network(bundle, "portrait") as net:
        mask, where = net.of_picture(pixels)
        alpha = matte.feather(net.over_picture(mask, where)[..., 0], feather)
        facts = net.facts
    picture = as_float(pixels)
    write_float(out, _styled(picture, alpha, style, second))
    return {"out": str(out), "person": f"{alpha.mean():.1%} of the picture", **facts}


def _styled(picture: Picture, alpha: Plane, style: str, second: Path | None) -> np.ndarray:
    if style == "double":
        assert second is not None
        return matte.double_exposure(picture, alpha, _fitted(second, picture))
    if style == "cutout":
        return np.dstack([picture, alpha])
    if style == "pop":
        return matte.colour_pop(picture, alpha)
    return matte.stencil(picture, alpha)


def _fitted(path: Path, like: Picture) -> Picture:
    """The picture of that path, cut and scaled to the size of another."""
    image = Image.fromarray(open_picture(path))
    fitted = ImageOps.fit(image, (like.shape[1], like.shape[0]), Image.Resampling.BICUBIC)
    return as_float(np.asarray(fitted))
