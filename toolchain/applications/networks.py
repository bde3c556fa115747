"""A model that runs on pictures: a bundle of any platform, or PyTorch itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from model_defs import zoo
from model_defs.errors import BadBundle, BadPicture
from model_defs.pixels import Placement, map_to_source, save_picture, to_tensor
from model_defs.procedures.arrays import Picture, Pixels, Point
from toolchain.bundle import bundle as bundles
from toolchain.bundle.files import whole
from toolchain.bundle.running import RunningModel


class Network(RunningModel):
    """A model that runs on pictures."""

    @property
    def facts(self) -> dict[str, str]:
        """What ran, and with which weights: what the user is told."""
        weights = self.weights.file or str(self.weights)
        return {"backend": self.runner.backend, "weights": weights}

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
        found = Network.of_spec(zoo.load(names[0]))
    else:
        read = bundles.read(bundle)
        if read.name not in names:
            raise BadBundle(
                f"the bundle is of {read.name}", where=str(bundle), do=f"use {' or '.join(names)}"
            )
        found = Network.of_bundle(read)
    try:
        yield found
    finally:
        found.runner.close()


def as_float(pixels: Pixels) -> Picture:
    """8-bit pixels as numbers in 0..1."""
    return pixels.astype(np.float32) / 255


def write_float(path: Path, picture: Picture) -> None:
    """Write (H, W, 3 or 4) in 0..1, rounded to 8 bit."""
    write(path, np.rint(picture.clip(0, 1) * 255).astype(np.uint8))


def write(path: Path, pixels: Pixels) -> None:
    """Write an 8-bit picture: whole, or not at all."""
    with whole(path) as fresh:
        save_picture(fresh, np.ascontiguousarray(pixels))


def check_inside(point: Point, picture: Pixels) -> None:
    """BadPicture for a pixel that the picture does not have."""
    height, width = picture.shape[:2]
    if not (0 <= point[0] < width and 0 <= point[1] < height):
        raise BadPicture(
            f"{point[0]},{point[1]} is outside of the picture",
            do=f"x is 0 to {width - 1}, y is 0 to {height - 1}",
        )
