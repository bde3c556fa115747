"""The object under the clicks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from model_defs.errors import BadPicture
from model_defs.pixels import Placement, open_picture, to_tensor
from model_defs.procedures import refine
from model_defs.procedures.arrays import Point
from model_defs.procedures.clicks import Clicks, click_maps
from toolchain.applications import networks
from toolchain.applications.networks import as_float, check_inside, write


def select(
    path: Path,
    bundle: Path | None,
    out: Path,
    positives: tuple[Point, ...],
    negatives: tuple[Point, ...],
    *,
    cut: bool,
) -> dict[str, Any]:
    """The mask of the object under the clicks, white on black; `cut` refines it by graph cut."""
    if not positives:
        raise BadPicture("nothing was clicked", do="--click x,y on the object")
    pixels = open_picture(path)
    for point in (*positives, *negatives):
        check_inside(point, pixels)
    with networks.network(bundle, "select", "select-coarse") as net:
        image, maps = net.inputs
        tensor, where = to_tensor(pixels, image)
        clicks = Clicks(_placed(positives, where), _placed(negatives, where))
        distances = click_maps(clicks, where.plane[::-1])[None]
        output = net.run({image.name: tensor, maps.name: distances})
        probability = net.over_picture(output, where)[..., 0]
        facts = net.facts
    mask = probability > 0.5
    if cut:
        mask = refine.refine(probability, as_float(pixels), Clicks(positives, negatives))
    write(out, np.where(mask, np.uint8(255), np.uint8(0)))
    return {"out": str(out), "selected": f"{mask.mean():.1%} of the picture", **facts}


def _placed(points: tuple[Point, ...], where: Placement) -> tuple[Point, ...]:
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
