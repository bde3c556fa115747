"""From a scene to a picture: what each ray meets, how it is lit, what air and sensor add."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_defs.procedures.arrays import Mask, Pixels
from model_defs.procedures.bokeh import to_srgb
from model_defs.scenes.camera import Camera, Vectors
from model_defs.scenes.solids import Depths, Solid, Triple
from model_defs.scenes.surfaces import Colour

GROUP = 12
"""Parts of one object that are tested together, as a ball, before each by itself."""


@dataclass(frozen=True)
class Light:
    """A lamp at a point, light from everywhere (more from above), and haze in the air."""

    at: Triple
    colour: Colour = (1.0, 1.0, 1.0)
    ambient: Colour = (0.35, 0.35, 0.35)
    haze: Colour = (0.7, 0.75, 0.8)
    density: float = 0.0
    """How much of a thing's light the haze takes per metre."""


@dataclass(frozen=True)
class Scene:
    """A camera among solids, of which the first is the room."""

    camera: Camera
    solids: tuple[Solid, ...]
    light: Light
    exposure: float = 0.2
    """The mean of the picture's linear light, which the camera sees to."""
    noise: float = 0.0
    """Of the sensor: the standard deviation in the picture's 0..1."""


@dataclass(frozen=True)
class View:
    """What the camera sees: (H, W) each, the picture (H, W, 3)."""

    picture: Pixels
    depth: NDArray[np.float32]
    """Metres along the optical axis."""
    instances: NDArray[np.uint8]
    """0 in the room, else the number of the nearest solid's object."""
    people: Mask


def render(scene: Scene, random: np.random.Generator) -> View:
    """One ray a pixel; `random` is for the sensor's noise alone."""
    rays = scene.camera.rays()
    eye = np.array([scene.camera.eye], np.float32)
    depth, nearest = first_hits(scene.solids, eye, rays)
    light = _lit(scene, eye + depth[:, None] * rays, rays, nearest)
    clear = np.exp(-scene.light.density * depth)[:, None]
    light = light * clear + np.array(scene.light.haze, np.float32) * (1 - clear)
    size = scene.camera.height, scene.camera.width
    light *= scene.exposure / max(float(light.mean()), 1e-6)
    shown = to_srgb(light) + _noise(scene, random)
    instances = np.array([solid.instance for solid in scene.solids], np.uint8)
    people = np.array([solid.person for solid in scene.solids])
    return View(
        np.rint(shown.clip(0, 1) * 255).astype(np.uint8).reshape(*size, 3),
        depth.reshape(size),
        instances[nearest].reshape(size),
        people[nearest].reshape(size),
    )


def first_hits(
    solids: tuple[Solid, ...], origins: Vectors, rays: Vectors
) -> tuple[Depths, NDArray[np.int64]]:
    """The depth at which each ray first meets a solid, and which one it is."""
    depth = np.full(len(rays), np.inf, np.float32)
    nearest = np.zeros(len(rays), np.int64)
    for index, at, found in _hits(solids, origins, rays):
        closer = found < depth[at]
        at = at[closer]
        depth[at], nearest[at] = found[closer], index
    return depth, nearest


def _hits(
    solids: Sequence[Solid], origins: Vectors, rays: Vectors
) -> Iterator[tuple[int, NDArray[np.int64], Depths]]:
    """For each solid its index, the rays (by index) that may meet it, and how far along."""
    every = np.arange(len(rays))
    for group in _groups(solids):
        at, starts, directions = every, origins, rays
        if len(group) > 1:
            at = np.flatnonzero(_may_meet([solids[i] for i in group], origins, rays))
            starts = origins if len(origins) == 1 else origins[at]
            directions = rays[at]
        for index in group:
            yield index, at, solids[index].hit(starts, directions)


def _groups(solids: Sequence[Solid]) -> list[list[int]]:
    """Neighbours that are parts of one object, together."""
    groups: list[list[int]] = []
    for index, solid in enumerate(solids):
        last = groups[-1] if groups else []
        together = last and solid.instance and solids[last[0]].instance == solid.instance
        if together and len(last) < GROUP:
            last.append(index)
        else:
            groups.append([index])
    return groups


def _may_meet(parts: Sequence[Solid], origins: Vectors, rays: Vectors) -> Mask:
    """Whether each ray's line passes through a ball around some solids."""
    centres = np.array([part.centre for part in parts], np.float32)
    reaches = np.array([np.linalg.norm(part.size) for part in parts], np.float32)
    middle = (centres.min(0) + centres.max(0)) / 2
    radius = (np.linalg.norm(centres - middle, axis=1) + reaches).max()
    to_middle = middle - origins
    along = np.einsum("nk,nk->n", np.broadcast_to(to_middle, rays.shape), rays)
    beside = np.einsum("nk,nk->n", to_middle, to_middle) - along**2 / np.einsum(
        "nk,nk->n", rays, rays
    )
    passes: Mask = (beside <= radius**2) & (along > -radius * np.abs(rays).sum(1))
    return passes


def _lit(scene: Scene, points: Vectors, rays: Vectors, nearest: NDArray[np.int64]) -> Vectors:
    """The light that the surfaces at the points send back along the rays (Blinn 1977)."""
    lamp = np.array(scene.light.at, np.float32) - points
    shown = ~_in_shadow(scene.solids, points, lamp)
    distance = np.linalg.norm(lamp, axis=1, keepdims=True)
    lamp /= distance
    half = lamp - rays / np.linalg.norm(rays, axis=1, keepdims=True)
    half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
    strength = shown[:, None] * (4 / (1 + distance**2 / 4))
    result = np.zeros_like(points)
    for index, solid in enumerate(scene.solids):
        at = np.flatnonzero(nearest == index)
        if at.size == 0:
            continue
        own = solid.own(points[at])
        normals = solid.normals(own)
        colours = solid.surface.colours(own * np.array(solid.size, np.float32))
        facing = np.maximum((normals * lamp[at]).sum(1, keepdims=True), 0)
        shine = np.maximum((normals * half[at]).sum(1, keepdims=True), 0) ** 40
        above = 0.7 + 0.3 * normals[:, 1:2]
        direct = strength[at] * (colours * facing + solid.surface.gloss * shine * facing)
        result[at] = direct * scene.light.colour + colours * above * scene.light.ambient
    return result.astype(np.float32)


def _in_shadow(solids: tuple[Solid, ...], points: Vectors, lamp: Vectors) -> Mask:
    """Whether a solid stands between each point and the lamp; the room itself does not."""
    shadow = np.zeros(len(points), bool)
    for _, at, found in _hits([s for s in solids if not s.hollow], points, lamp):
        shadow[at] |= found < 1
    return shadow


def _noise(scene: Scene, random: np.random.Generator) -> NDArray[np.float32]:
    shape = (scene.camera.height * scene.camera.width, 3)
    return random.standard_normal(shape, np.float32) * np.float32(scene.noise)
