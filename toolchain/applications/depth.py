"""What depth is for: a shallow depth of field, light by depth, stickers in the scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_defs.pixels import Placement, open_cutout, open_picture
from model_defs.procedures import bokeh as procedures
from model_defs.procedures.arrays import Picture, Plane, Point
from toolchain.applications import networks
from toolchain.applications.networks import as_float, check_inside, write_float

MODELS = ("depth", "depth-upproj")

THICKNESS = 0.01
"""How much nearer than what it is put on a sticker lies: more than a surface's own noise."""


@dataclass(frozen=True)
class PictureDepth:
    """A picture, how near each of its pixels is, and what said so."""

    picture: Picture
    nearness: Plane
    facts: dict[str, str]

    @classmethod
    def read(cls, path: Path, bundle: Path | None, points: tuple[Point, ...]) -> PictureDepth:
        """The scene of a picture that has these points; its depth has the picture's edges."""
        pixels = open_picture(path)
        for point in points:
            check_inside(point, pixels)
        with networks.network(bundle, *MODELS) as net:
            coarse, where = net.of_picture(pixels)
            facts = net.facts
        nearness = _part(coarse, where)
        if net.outputs[0].unit == "m":
            nearness = _relative(nearness)
        picture = as_float(pixels)
        return cls(picture, procedures.upsample(nearness, picture), facts)

    def focus(self, points: tuple[Point, ...]) -> tuple[float, float]:
        """The focus and the field that keep the points sharp; without any, the nearest part."""
        if not points:
            return float(self.nearness.max()), 0.0
        return procedures.focus_on_all(self.nearness, points)

    def result(self, out: Path, focus: float) -> dict[str, Any]:
        return {"out": str(out), "focus": round(focus, 3), **self.facts}


def _part(coarse: np.ndarray, where: Placement) -> Plane:
    """The part of a (1, 1, h, w) depth that the picture fills, (h, w)."""
    plane = coarse[0, 0]
    sx, sy = plane.shape[1] / where.plane[0], plane.shape[0] / where.plane[1]
    left, top, right, bottom = where.target
    return plane[round(top * sy) : round(bottom * sy), round(left * sx) : round(right * sx)]


def _relative(metres: Plane) -> Plane:
    """Metres as inverse depth in 0..1, 1 where the picture is nearest."""
    inverse = 1 / np.maximum(metres, 0.1)
    return (inverse / inverse.max()).astype(np.float32)


def bokeh(
    path: Path, bundle: Path | None, out: Path, focus: tuple[Point, ...], aperture: float
) -> dict[str, Any]:
    """Blur what is out of focus; everything that was pointed at stays sharp."""
    scene = PictureDepth.read(path, bundle, focus)
    at, field = scene.focus(focus)
    blurred = procedures.depth_of_field(scene.picture, scene.nearness, at, aperture, field=field)
    write_float(out, blurred)
    return scene.result(out, at)


def grade(
    path: Path, bundle: Path | None, out: Path, focus: Point, stops: float, softness: float
) -> dict[str, Any]:
    """Lighten what is nearer than the focus, darken what is behind it."""
    scene = PictureDepth.read(path, bundle, (focus,))
    at, _ = scene.focus((focus,))
    graded = procedures.grade(scene.picture, scene.nearness, at, stops=stops, softness=softness)
    write_float(out, graded)
    return scene.result(out, at)


def sticker(
    path: Path, bundle: Path | None, out: Path, sticker: Path, centre: Point, depth: float | None
) -> dict[str, Any]:
    """Lay a picture into the scene, as near as `depth`, or on what is at its centre."""
    cutout = as_float(open_cutout(sticker))
    scene = PictureDepth.read(path, bundle, (centre,))
    at = depth if depth is not None else procedures.focus_at(scene.nearness, *centre) + THICKNESS
    left, top = centre[0] - cutout.shape[1] // 2, centre[1] - cutout.shape[0] // 2
    laid = procedures.place_sticker(
        scene.picture, scene.nearness, cutout, left=left, top=top, at=at
    )
    write_float(out, laid)
    return scene.result(out, at)
