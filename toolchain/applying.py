"""Pictures in, pictures out: a model and the procedure around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters import formats
from converters.api import Artifact, Runner
from model_defs import zoo
from model_defs.errors import BadBundle, BadPicture
from model_defs.pixels import Placement, map_to_source, open_picture, save_picture, to_tensor
from model_defs.procedures import bokeh as blurring
from model_defs.procedures import crop as cropping
from model_defs.procedures import inpainting, matte, refine
from model_defs.procedures.clicks import Clicks, click_maps
from model_defs.spec import TensorSpec
from toolchain import bundle as bundles


@dataclass(frozen=True)
class Network:
    """A model that runs: a bundle of any platform, or PyTorch itself."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    runner: Runner

    def of_picture(self, picture: np.ndarray) -> tuple[np.ndarray, Placement]:
        """The first output for an (H, W, 3) 8-bit picture, and where the picture lay."""
        tensor, where = to_tensor(picture, self.inputs[0])
        return self.run({self.inputs[0].name: tensor}), where

    def run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """The first output."""
        return self.runner.run(inputs)[self.outputs[0].name]

    def over_picture(self, output: np.ndarray, where: Placement) -> np.ndarray:
        """An output laid over its source picture, (H, W, C) float32."""
        rule = self.outputs[0].postprocess
        assert rule is not None
        return map_to_source(output, rule, where)


@contextmanager
def network(bundle: Path | None, *names: str) -> Iterator[Network]:
    """The bundle, which must be of one of these models, or else the first of them in PyTorch."""
    if bundle is None:
        found = _pytorch(names[0])
    else:
        read = bundles.read(bundle)
        if read.name not in names:
            raise BadBundle(
                f"the bundle is of {read.name}", where=str(bundle), do=f"use {' or '.join(names)}"
            )
        artifact = Artifact.from_json(read.manifest["artifact"], read.directory)
        found = Network(read.inputs, read.outputs, formats.open_runner(artifact))
    try:
        yield found
    finally:
        found.runner.close()


def _pytorch(name: str) -> Network:
    from converters.capture import capture
    from converters.reference import ReferenceRunner

    spec = zoo.load(name)
    return Network(spec.inputs, spec.outputs, ReferenceRunner(capture(spec)))


def read_float(path: Path) -> np.ndarray:
    """A picture as (H, W, 3) float32 in 0..1."""
    return open_picture(path).astype(np.float32) / 255


def write_float(path: Path, picture: np.ndarray) -> None:
    """Write (H, W, 3 or 4) in 0..1, rounded to 8 bit."""
    with bundles.writing(path):
        save_picture(path, np.rint(picture.clip(0, 1) * 255).astype(np.uint8))


def check_inside(point: tuple[int, int], picture: np.ndarray) -> None:
    """BadPicture for a pixel that the picture does not have."""
    height, width = picture.shape[:2]
    if not (0 <= point[0] < width and 0 <= point[1] < height):
        raise BadPicture(
            f"{point[0]},{point[1]} is outside of the picture",
            do=f"x is 0 to {width - 1}, y is 0 to {height - 1}",
        )


def bokeh(
    path: Path,
    bundle: Path | None,
    out: Path,
    focus: tuple[int, int] | None,
    aperture: float,
    stops: float,
) -> dict[str, Any]:
    """Depth of field, and grading by depth where `stops` is not 0."""
    pixels = open_picture(path)
    if focus is not None:
        check_inside(focus, pixels)
    with network(bundle, "depth", "depth-upproj") as net:
        coarse, where = net.of_picture(pixels)
        backend = net.runner.backend
    picture = pixels.astype(np.float32) / 255
    nearness = blurring.upsample(_nearness(coarse, where), picture)
    at = float(nearness.max()) if focus is None else blurring.focus_at(nearness, *focus)
    result = blurring.depth_of_field(picture, nearness, at, aperture)
    if stops:
        result = blurring.grade(result, nearness, at, stops=stops)
    write_float(out, result)
    return {"out": str(out), "focus": round(at, 3), "backend": backend}


def _nearness(coarse: np.ndarray, where: Placement) -> np.ndarray:
    """The part of a (1, 1, h, w) depth that the picture fills, (h, w)."""
    plane = coarse[0, 0]
    sx, sy = plane.shape[1] / where.plane[0], plane.shape[0] / where.plane[1]
    left, top, right, bottom = where.target
    return plane[round(top * sy) : round(bottom * sy), round(left * sx) : round(right * sx)]


def portrait(
    path: Path, bundle: Path | None, out: Path, style: str, second: Path | None, feather: float
) -> dict[str, Any]:
    """The person on transparency (cutout), or in one of the styles."""
    if style == "double" and second is None:
        raise BadPicture("a double exposure needs another picture", do="--second landscape.jpg")
    if style == "cutout" and out.suffix.lower() not in (".png", ".webp", ".tif", ".tiff"):
        raise BadPicture(f"'{out.suffix}' has no transparency", where=str(out), do="use .png")
    if feather <= 0:
        raise BadPicture(f"--feather {feather:g} is not positive", do="use 1 or more pixels")
    pixels = open_picture(path)
    with network(bundle, "portrait") as net:
        mask, where = net.of_picture(pixels)
        alpha = matte.feather(net.over_picture(mask, where)[..., 0], feather)
        backend = net.runner.backend
    picture = pixels.astype(np.float32) / 255
    write_float(out, _styled(picture, alpha, style, second))
    return {"out": str(out), "person": f"{alpha.mean():.1%} of the picture", "backend": backend}


def _styled(picture: np.ndarray, alpha: np.ndarray, style: str, second: Path | None) -> np.ndarray:
    if style == "double":
        assert second is not None
        return matte.double_exposure(picture, alpha, _fitted(second, picture))
    if style == "cutout":
        return np.dstack([picture, alpha])
    if style == "pop":
        return matte.colour_pop(picture, alpha)
    return matte.stencil(picture, alpha)


def _fitted(path: Path, like: np.ndarray) -> np.ndarray:
    """The picture of that path, cut and scaled to the size of another."""
    from PIL import Image, ImageOps

    image = Image.fromarray(open_picture(path))
    fitted = ImageOps.fit(image, (like.shape[1], like.shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(fitted, np.float32) / 255


def crop(
    path: Path, bundle: Path | None, out: Path, ratio: float, tight: float | None
) -> dict[str, Any]:
    """The largest window of a ratio around what people look at, or the smallest with a share."""
    if tight is not None and not 0 < tight <= 1:
        raise BadPicture(f"--tight {tight:g} is not a share", do="use more than 0 and at most 1")
    pixels = open_picture(path)
    with network(bundle, "saliency") as net:
        output, where = net.of_picture(pixels)
        saliency = net.over_picture(output, where)[..., 0].clip(0)
        backend = net.runner.backend
    if tight is None:
        whole = (pixels.shape[0], pixels.shape[1])
        window = cropping.crop(saliency, whole, ratio)
    else:
        found = cropping.tight_window(saliency, ratio, tight)
        if found is None:
            raise BadPicture(
                f"no window of that ratio holds {tight:.0%} of the saliency",
                do="lower --tight, or leave it out",
            )
        window = found
    rows = slice(window.top, window.top + window.height)
    columns = slice(window.left, window.left + window.width)
    with bundles.writing(out):
        save_picture(out, np.ascontiguousarray(pixels[rows, columns]))
    size = f"{window.width}x{window.height}"
    return {"out": str(out), "window": f"{size}+{window.left}+{window.top}", "backend": backend}


def inpaint(
    path: Path, bundle: Path | None, out: Path, mask_path: Path, *, shrink: bool, twice: bool
) -> dict[str, Any]:
    """The picture without what the mask (white) covers; every other pixel as it was."""
    picture = open_picture(path)
    mask = open_picture(mask_path)[..., 0] > 127
    if not mask.any():
        raise BadPicture("the mask is empty", where=str(mask_path), do="paint the hole white")
    with network(bundle, "inpaint-lite", "inpaint", "inpaint-reflect", "inpaint-pconv") as net:
        size = net.inputs[0].shape[2], net.inputs[0].shape[3]
        filled = inpainting.inpaint(
            _drawer(net),
            picture,
            mask,
            size=size,
            shrink=shrink,
            twice=twice,
            fixed=net.runner.backend != "pytorch",
        )
        backend = net.runner.backend
    with bundles.writing(out):
        save_picture(out, filled)
    return {"out": str(out), "filled": f"{mask.mean():.1%} of the picture", "backend": backend}


def _drawer(net: Network) -> inpainting.Network:
    """The network on 8-bit pictures and masks, as the procedures call it."""

    def draw(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
        image, hole = net.inputs
        rule = image.preprocess
        assert rule is not None
        mean, std = np.float32(rule.mean[0]), np.float32(rule.std[0])
        tensor = ((picture.astype(np.float32) - mean) / std).transpose(2, 0, 1)[None]
        covered = mask.astype(np.float32)[None, None]
        result = net.run({image.name: np.ascontiguousarray(tensor), hole.name: covered})
        pixels = result[0].transpose(1, 2, 0) * std + mean
        return np.rint(pixels.clip(0, 255)).astype(np.uint8)

    return draw


def select(
    path: Path,
    bundle: Path | None,
    out: Path,
    positives: tuple[tuple[int, int], ...],
    negatives: tuple[tuple[int, int], ...],
    *,
    cut: bool,
) -> dict[str, Any]:
    """The mask of the object under the clicks, white on black; `cut` refines it by graph cut."""
    if not positives:
        raise BadPicture("nothing was clicked", do="--click x,y on the object")
    pixels = open_picture(path)
    for point in (*positives, *negatives):
        check_inside(point, pixels)
    with network(bundle, "select", "select-coarse") as net:
        image, maps = net.inputs
        tensor, where = to_tensor(pixels, image)
        clicks = Clicks(_placed(positives, where), _placed(negatives, where))
        distances = click_maps(clicks, where.plane[::-1])[None]
        output = net.run({image.name: tensor, maps.name: distances})
        probability = net.over_picture(output, where)[..., 0]
        backend = net.runner.backend
    mask = probability > 0.5
    if cut:
        picture = pixels.astype(np.float32) / 255
        mask = refine.refine(probability, picture, Clicks(positives, negatives))
    with bundles.writing(out):
        save_picture(out, mask.astype(np.uint8) * 255)
    return {"out": str(out), "selected": f"{mask.mean():.1%} of the picture", "backend": backend}


def _placed(points: tuple[tuple[int, int], ...], where: Placement) -> tuple[tuple[int, int], ...]:
    """Pixels of the source picture as pixels of the plane that it was placed in."""
    left, top, right, bottom = where.source
    x0, y0, x1, y1 = where.target
    sx, sy = (x1 - x0) / (right - left), (y1 - y0) / (bottom - top)
    return tuple(
        (
            min(int((x - left + 0.5) * sx) + x0, x1 - 1),
            min(int((y - top + 0.5) * sy) + y0, y1 - 1),
        )
        for x, y in points
    )
