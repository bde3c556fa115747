"""Convex solids that rays meet: balls, boxes and cylinders, stretched, turned and moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_defs.scenes.camera import Vectors
from model_defs.scenes.surfaces import Surface

Depths = NDArray[np.float32]
"""One number a ray (N,); infinite where nothing is met."""

TOO_NEAR = 1e-3
"""Rays start outside of what they start on, in their own unit."""

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Solid:
    """`shape` between -1 and 1 on all axes, times `size` (half extents), turned, at `centre`.

    `turn` is about the vertical axis and `roll` about the forward one, in radians, the roll
    first. A `hollow` one is seen from within. `instance` numbers the object that it is part
    of, 0 being the room.
    """

    shape: str
    centre: Triple
    size: Triple
    surface: Surface
    instance: int = 0
    person: bool = False
    turn: float = 0.0
    roll: float = 0.0
    hollow: bool = False

    def axes(self) -> NDArray[np.float32]:
        """The rotation (3, 3): columns are the solid's own axes in the world."""
        ct, st, cr, sr = np.cos(self.turn), np.sin(self.turn), np.cos(self.roll), np.sin(self.roll)
        turn = np.array([[ct, 0, st], [0, 1, 0], [-st, 0, ct]])
        roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return (turn @ roll).astype(np.float32)

    def hit(self, origins: Vectors, rays: Vectors) -> Depths:
        """How far along each ray from its origin, in the ray's unit, the solid begins."""
        axes, size = self.axes(), np.array(self.size, np.float32)
        origin = (origins - np.array(self.centre, np.float32)) @ axes / size
        near, far = EXTENTS[self.shape](origin, rays @ axes / size)
        if self.hollow:
            return far
        return np.where((near < far) & (near > TOO_NEAR), near, np.float32(np.inf))

    def own(self, points: Vectors) -> Vectors:
        """World points (N, 3) in the solid's own axes, from -1 to 1."""
        moved = points - np.array(self.centre, np.float32)
        return moved @ self.axes() / np.array(self.size, np.float32)

    def normals(self, own: Vectors) -> Vectors:
        """The unit normals, in the world, of points on the surface in the solid's own axes."""
        scaled = NORMALS[self.shape](own) / np.array(self.size, np.float32)
        scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
        normals = scaled @ self.axes().T
        return -normals if self.hollow else normals


Extent = Callable[[Vectors, Vectors], tuple[Depths, Depths]]
"""Where rays (origins, directions) enter and leave; entry beyond exit where they miss."""


def _ball(origins: Vectors, rays: Vectors) -> tuple[Depths, Depths]:
    return _round(origins, rays, (0, 1, 2))


def _box(origins: Vectors, rays: Vectors) -> tuple[Depths, Depths]:
    return _slabs(origins, rays, (0, 1, 2))


def _cylinder(origins: Vectors, rays: Vectors) -> tuple[Depths, Depths]:
    near, far = _round(origins, rays, (0, 2))
    bottom, top = _slabs(origins, rays, (1,))
    return np.maximum(near, bottom), np.minimum(far, top)


def _round(origins: Vectors, rays: Vectors, axes: tuple[int, ...]) -> tuple[Depths, Depths]:
    """Of the unit circle or ball over some axes: |o + t * d|^2 = 1."""
    o, d = origins[:, axes], rays[:, axes]
    a = np.maximum((d * d).sum(1), np.float32(1e-12))
    b, c = (o * d).sum(1), (o * o).sum(1) - 1
    discriminant = b * b - a * c
    root = np.sqrt(np.maximum(discriminant, 0))
    miss = np.where(discriminant < 0, np.float32(np.inf), np.float32(0))
    return (-b - root) / a + miss, (-b + root) / a - miss


def _slabs(origins: Vectors, rays: Vectors, axes: tuple[int, ...]) -> tuple[Depths, Depths]:
    """Between -1 and 1 on some axes (Kay and Kajiya 1986)."""
    o, d = origins[:, axes], rays[:, axes]
    d = np.where(np.abs(d) < 1e-9, np.float32(1e-9), d)
    low, high = (-1 - o) / d, (1 - o) / d
    return np.minimum(low, high).max(1), np.maximum(low, high).min(1)


EXTENTS: dict[str, Extent] = {"ball": _ball, "box": _box, "cylinder": _cylinder}


def _of_ball(own: Vectors) -> Vectors:
    return own.copy()


def _of_box(own: Vectors) -> Vectors:
    """Along the axis that is farthest out."""
    normals = np.zeros_like(own)
    rows, axis = np.arange(len(own)), np.abs(own).argmax(1)
    normals[rows, axis] = np.sign(own[rows, axis])
    return normals


def _of_cylinder(own: Vectors) -> Vectors:
    on_cap = np.abs(own[:, 1]) > np.hypot(own[:, 0], own[:, 2])
    cap, side = own * np.array([0, 1, 0], np.float32), own * np.array([1, 0, 1], np.float32)
    return np.where(on_cap[:, None], cap, side)


NORMALS: dict[str, Callable[[Vectors], Vectors]] = {
    "ball": _of_ball,
    "box": _of_box,
    "cylinder": _of_cylinder,
}
