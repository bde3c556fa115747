"""Scenes that are drawn once and kept: drawing one takes longer than learning from it.

    $MLSHIP_CACHE/scenes/<digest of model_defs/scenes>/<kind>-<side>/<number>.npz

An epoch of training sees each of SCENES scenes of a kind once, cut, mirrored and lit anew.
Scenes may be drawn beforehand, by as many processes as there are cores:

    python -m toolchain.data.scenery [--side 256] [--first 0] [--count 1400]
"""

from __future__ import annotations

import argparse
import hashlib
import zipfile
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from model_defs.scenes import sampling
from model_defs.scenes.render import View
from toolchain.bundle.files import whole
from toolchain.bundle.home import cache_home
from toolchain.data.task import HELD_OUT, SEEDS_APART

Kind = Literal["portrait", "still"]
KINDS: dict[Kind, float] = {"portrait": 1.0, "still": 0.0}
"""The share of portraits that `sampling.sample` draws for a kind."""

SCENES = 1400
"""How many scenes of a kind a training sees; examples of higher numbers see them again."""

SIDE = 256
"""Of the square pictures, in pixels: the tasks cut what they need out of them."""


def view(kind: Kind, number: int, side: int = SIDE) -> View:
    """The scene that example `number` shows, from the cache or else drawn and put there.

    Every example that is held out has a scene of its own.
    """
    if number < HELD_OUT:
        seed, example = divmod(number, SEEDS_APART)
        number = seed * SEEDS_APART + example % SCENES
    path = folder() / f"{kind}-{side}" / f"{number}.npz"
    try:
        return _read(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        drawn = sampling.sample(number, side, side, portraits=KINDS[kind]).view
        _write(path, drawn)
        return _stored(drawn)


@cache
def folder() -> Path:
    """Of the scenes that the code, as it is now, draws."""
    source = Path(sampling.__file__).parent
    texts = [path.read_bytes() for path in sorted(source.glob("*.py"))]
    return cache_home() / "scenes" / hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]


def _stored(drawn: View) -> View:
    """What a file keeps of a view: its depth in half the bytes, 3 digits of it."""
    depth = drawn.depth.astype(np.float16).astype(np.float32)
    return View(drawn.picture, depth, drawn.instances, drawn.people)


def _write(path: Path, drawn: View) -> None:
    """Whole, or not at all: several processes may draw the same scene."""
    with whole(path) as fresh, fresh.open("wb") as file:
        np.savez(
            file,
            picture=drawn.picture,
            depth=drawn.depth.astype(np.float16),
            instances=drawn.instances,
            people=drawn.people,
        )


def _read(path: Path) -> View:
    with path.open("rb") as file, np.load(file) as found:
        depth = found["depth"].astype(np.float32)
        return View(found["picture"], depth, found["instances"], found["people"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw scenes for later trainings.")
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=SCENES)
    options = parser.parse_args()
    for number in range(options.first, options.first + options.count):
        for kind in KINDS:
            view(kind, number, options.side)


if __name__ == "__main__":
    main()
