"""Photographs that no training shows, each with the mask of what it is of, drawn by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_defs.pixels import open_picture
from model_defs.procedures.arrays import Mask, Pixels

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
