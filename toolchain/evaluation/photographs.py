"""Photographs that no training shows, each with the mask of what it is of, drawn by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_defs.pixels import open_picture, to_tensor
from model_defs.procedures.arrays import Mask, Pixels
from model_defs.spec import TensorSpec
from toolchain.evaluation.dataset import EvalSample, pixels

FOLDER = Path(__file__).parents[1] / "data" / "photos"
FILES = ("astronaut.png", "camera.jpg", "chelsea.jpg", "coffee.jpg")
PEOPLE = ("astronaut.png", "camera.jpg")


@dataclass(frozen=True)
class Photograph:
    """A picture (H, W, 3) and the mask (H, W) of its subject."""

    picture: Pixels
    subject: Mask


def photograph(name: str) -> Photograph:
    """One of FILES; its README says where it is from."""
    path = FOLDER / name
    mask = open_picture(path.with_name(f"{path.stem}.mask.png"))[..., 0] > 127
    return Photograph(open_picture(path), mask)


def photographs_without_truth(inputs: tuple[TensorSpec, ...]) -> Iterator[EvalSample]:
    """All of them, to be looked at: nobody knows what is true of them, which is 0 everywhere."""
    for number, name in enumerate(FILES):
        image, lies = to_tensor(photograph(name).picture, inputs[0])
        truth = np.zeros((1, 1, *inputs[0].shape[2:]), np.float32)
        shown, given = pixels(image, inputs[0]), {inputs[0].name: image}
        yield EvalSample("photographs", number, given, shown, truth, lies.target)
