"""Scenes drawn at random: a room, things on its floor and walls, and people."""

from __future__ import annotations

import math

import numpy as np

from model_defs.scenes import colours
from model_defs.scenes.camera import Camera
from model_defs.scenes.figures import HEAD, TALL, Posture, figure
from model_defs.scenes.render import Light, Scene
from model_defs.scenes.solids import Solid, Triple

THICK = 0.02


def still_life(random: np.random.Generator, height: int, width: int) -> Scene:
    """A room with 2 to 6 things, and people in the background of one in three."""
    camera = Camera(
        height,
        width,
        focal=random.uniform(0.7, 1.3),
        eye=(0.0, random.uniform(1.2, 1.8), 0.0),
        pitch=random.uniform(0.1, 0.35),
    )
    room = _room(random)
    solids = list(room)
    count = int(random.integers(2, 7))
    for instance in range(1, count + 1):
        solids.append(_thing(random, camera, instance, (1.3, _back(room))))
    if random.random() < 1 / 3:
        at = random.uniform(-1, 1), random.uniform(2.2, 3.5)
        posture = Posture(at, random.uniform(-1, 1), 0.0, random.uniform(0.9, 1.1))
        solids += figure(posture, count + 1, random)
    return _finished(random, camera, solids)


def portrait(random: np.random.Generator, height: int, width: int) -> Scene:
    """A person from the chest or the waist up, in a room with a few things."""
    scale, share = random.uniform(0.9, 1.1), random.uniform(0.2, 0.5)
    focal = random.uniform(0.9, 1.8)
    distance = HEAD * scale * focal * width / (share * height)
    seen = distance * height / (focal * width)
    above = random.uniform(0.03, 0.25)  # the share of the picture over the head
    middle = TALL * scale - seen * (0.5 - above)
    camera = Camera(height, width, focal, (0.0, middle, 0.0), random.uniform(-0.03, 0.05))
    sideways = random.uniform(-0.2, 0.2) * distance / focal
    turn, lean = random.normal(0, 0.35), random.normal(0, 0.05)
    room = _room(random, near=distance)
    solids = list(room)
    solids += figure(Posture((sideways, distance), turn, lean, scale), 1, random)
    count = int(random.integers(0, 4))
    for instance in range(2, 2 + count):
        solids.append(_thing(random, camera, instance, (distance + 0.5, _back(room))))
    if random.random() < 0.15:
        at = sideways + random.choice([-1, 1]) * random.uniform(0.6, 0.9), distance + 0.4
        solids += figure(Posture(at, random.normal(0, 0.4)), 2 + count, random)
    return _finished(random, camera, solids)


def _room(random: np.random.Generator, near: float = 1.5) -> tuple[Solid, ...]:
    """Walls around the camera, and a floor that is drawn over their lower side."""
    wide, high = random.uniform(2.0, 4.0), random.uniform(2.3, 3.4)
    deep = near + random.uniform(1.0, 4.0)
    walls = Solid(
        "box",
        (0.0, high / 2, deep / 2 - 1),
        (wide, high / 2, deep / 2 + 1),
        colours.wall(random),
        hollow=True,
    )
    boards = Solid(
        "box", (0.0, -THICK / 2, deep / 2 - 1), (wide, THICK, deep / 2 + 1), colours.floor(random)
    )
    return walls, boards


def _thing(
    random: np.random.Generator, camera: Camera, instance: int, depths: tuple[float, float]
) -> Solid:
    """Somewhere in view within some depths: on the floor where that is, else hovering."""
    ray = camera.ray(random.uniform(0.1, 0.9), random.uniform(0.35, 0.95))
    z = random.uniform(*depths)
    to_floor = -camera.eye[1] / min(float(ray[1]), -1e-3)
    stands = random.random() < 0.8 and depths[0] <= to_floor <= depths[1]
    z = to_floor if stands else z
    large = z / camera.focal * random.uniform(0.07, 0.19)
    stretch = np.exp(random.normal(0, 0.3, 3))
    size: Triple = tuple(float(large * s) for s in stretch)  # type: ignore[assignment]
    x, y, forward = np.array(camera.eye) + z * ray
    y = size[1] if stands else max(float(y), size[1])
    shape = str(random.choice(["ball", "box", "cylinder"]))
    surface = colours.thing(random, 2 * large)
    centre = float(x), y, float(forward)
    return Solid(shape, centre, size, surface, instance, turn=random.uniform(0, math.pi))


def _back(room: tuple[Solid, ...]) -> float:
    """How far things may stand from the camera."""
    return room[0].centre[2] + room[0].size[2] - 0.3


def _finished(random: np.random.Generator, camera: Camera, solids: list[Solid]) -> Scene:
    warm = random.uniform(-0.15, 0.15)
    soft = random.uniform(0.3, 0.8)
    light = Light(
        at=(random.uniform(-1.8, 1.8), random.uniform(1.7, 2.25), random.uniform(-0.5, 1.0)),
        colour=(1 + warm, 1.0, 1 - warm),
        ambient=(soft * (1 - warm), soft, soft * (1 + warm)),
        haze=colours.colour(random, pale=True),
        density=float(random.choice([0.0, 0.0, random.uniform(0, 0.15)])),
    )
    return Scene(
        camera,
        tuple(solids),
        light,
        exposure=random.uniform(0.22, 0.5),
        noise=float(random.choice([0.0, random.uniform(0, 0.03)])),
    )
