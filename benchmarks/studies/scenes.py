"""How many scenes a core makes in a second, and a contact sheet of them to look at.

    python -m benchmarks.studies.scenes [--size 128] [--count 48] [--sheet scenes.png]

A sheet has four rows for each row of scenes: picture, nearness, objects (people lightened) and
saliency, with the hole drawn in white.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from model_defs.pixels import save_picture
from model_defs.procedures.arrays import Pixels
from model_defs.scenes.sampling import Sample, sample

COLUMNS = 8
HUES = np.random.default_rng(0).integers(60, 200, (256, 3)).astype(np.uint8)


def rate(size: int, count: int) -> float:
    """Samples in a second of one core's time, other processes' share left out."""
    sample(0, size, size)
    start = time.process_time()
    for seed in range(count):
        sample(seed, size, size)
    return count / (time.process_time() - start)


def tile(one: Sample) -> Pixels:
    """A sample's four pictures, one below the other."""
    nearness = one.view.depth.min() / one.view.depth
    objects = HUES[one.view.instances] * (one.view.instances > 0)[..., None]
    objects[one.view.people] += 55
    looks = one.saliency.copy()
    looks[one.hole] = 1
    planes = [np.rint(255 * plane).astype(np.uint8) for plane in (nearness, looks)]
    shown = [np.repeat(plane[..., None], 3, axis=2) for plane in planes]
    return np.vstack([one.view.picture, shown[0], objects, shown[1]])


def sheet(size: int, count: int) -> Pixels:
    """The first samples, in rows of COLUMNS; as many as fill the rows."""
    tiles = [tile(sample(seed, size, size)) for seed in range(-(-count // COLUMNS) * COLUMNS)]
    rows = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    return np.vstack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Scenes a second, and a sheet of them.")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    found = rate(options.size, options.count)
    print(f"{found:.1f} samples of {options.size} x {options.size} a second and core")
    if options.sheet:
        save_picture(options.sheet, sheet(options.size, options.count))
        print(f"{options.sheet}: the first of them")


if __name__ == "__main__":
    main()
