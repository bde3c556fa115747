"""Scenes: depth against closed forms, what is nearest is seen, light falls as it should."""

from __future__ import annotations

import numpy as np
import pytest

from model_defs.scenes.camera import Camera
from model_defs.scenes.render import Light, Scene, first_hits, render
from model_defs.scenes.solids import NORMALS, Solid
from model_defs.scenes.surfaces import PATTERNS, Surface

WHITE = Surface((1.0, 1.0, 1.0))
LAMP = Light(at=(0.0, 3.0, 0.0))
ROOM = Solid("box", (0, 1.5, 3), (4, 1.5, 4), WHITE, hollow=True)


def seen(*solids, height=48, width=64, camera=None, **options):
    camera = camera or Camera(height, width, eye=(0.0, 1.5, 0.0))
    return render(Scene(camera, (ROOM, *solids), LAMP, **options), np.random.default_rng(0))


def test_a_wall_has_one_depth_and_a_floor_the_one_of_its_row():
    view = seen()
    rows = (np.arange(48) + 0.5 - 24) / 64  # of the picture's width below the middle, focal 1
    expected = np.full(48, 7.0)
    steep = np.abs(rows) > 1.5 / 7
    expected[steep] = 1.5 / np.abs(rows[steep])
    np.testing.assert_allclose(view.depth[:, 32], expected, rtol=1e-5)
    assert not view.instances.any()


@pytest.mark.parametrize(("focal", "pitch"), [(1.0, 0.0), (0.7, 0.4), (1.5, -0.2)])
def test_a_ball_has_the_depth_of_the_nearer_root(focal, pitch):
    centre, radius = np.array([0.3, 1.2, 3.0]), 0.8
    camera = Camera(48, 64, focal, (0.1, 1.5, 0.2), pitch)
    view = seen(Solid("ball", tuple(centre), (radius,) * 3, WHITE, 1), camera=camera)
    rays = camera.rays().reshape(48, 64, 3).astype(float)
    for row, column in np.argwhere(view.instances == 1)[::17]:
        ray = rays[row, column]
        point = camera.eye + view.depth[row, column] * ray
        assert np.linalg.norm(point - centre) == pytest.approx(radius, abs=1e-4)
        outwards = point - centre
        assert outwards @ ray < 0
    to_centre = centre - camera.eye
    length = np.linalg.norm(rays, axis=2)
    beside = np.sqrt(np.maximum(to_centre @ to_centre - (rays @ to_centre / length) ** 2, 0))
    np.testing.assert_array_equal(view.instances[beside < radius - 1e-3], 1)
    np.testing.assert_array_equal(view.instances[beside > radius + 1e-3], 0)


def test_depth_is_along_the_optical_axis():
    """Hence a wall across it is as deep in the corners as in the middle, pitched or not."""
    wall = Solid("box", (0, 1.5, 2.01), (9, 9, 0.01), WHITE, 1)
    np.testing.assert_allclose(seen(wall).depth, 2, rtol=1e-5)


def inside(shape, own):
    if shape == "ball":
        return (own**2).sum(1) <= 1
    if shape == "box":
        return (np.abs(own) <= 1).all(1)
    return (own[:, 0] ** 2 + own[:, 2] ** 2 <= 1) & (np.abs(own[:, 1]) <= 1)


@pytest.mark.parametrize("shape", ["ball", "box", "cylinder"])
def test_a_turned_solid_begins_where_small_steps_along_the_ray_enter_it(shape):
    random = np.random.default_rng(1)
    solid = Solid(shape, (0.2, 1.4, 2.5), (0.5, 0.3, 0.4), WHITE, 1, turn=0.7, roll=0.3)
    rays = Camera(12, 16).rays() + random.normal(0, 0.01, (192, 3)).astype(np.float32)
    eye = np.array([[0, 1.5, 0]], np.float32)
    found = solid.hit(eye, rays)
    steps = np.arange(1.5, 4, 0.002, dtype=np.float32)
    for ray, depth in zip(rays, found, strict=True):
        within = inside(shape, solid.own(eye + steps[:, None] * ray))
        if within.any():
            assert depth == pytest.approx(steps[within.argmax()], abs=0.004)
        elif np.isfinite(depth):  # grazed between two steps
            assert inside(shape, solid.own(eye + depth * ray) * 0.999).all()
    assert np.isfinite(found).sum() > 10


@pytest.mark.parametrize("shape", sorted(NORMALS))
def test_normals_are_of_length_one_and_point_outwards(shape):
    solid = Solid(shape, (0.2, 1.4, 2.5), (0.5, 0.3, 0.4), WHITE, 1, turn=0.7, roll=0.3)
    rays, eye = Camera(24, 32).rays(), np.array([[0, 1.5, 0]], np.float32)
    depth = solid.hit(eye, rays)
    met = np.isfinite(depth)
    points = eye + depth[met, None] * rays[met]
    normals = solid.normals(solid.own(points))
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert ((normals * rays[met]).sum(1) < 0.01).all()
    assert not inside(shape, solid.own(points + 0.01 * normals)).any()


def test_parts_of_one_object_hide_each_other_as_single_solids_do():
    """The ball around a group only saves work."""
    random = np.random.default_rng(2)
    parts = [
        Solid("ball", tuple(random.uniform((-1, 0.5, 2), (1, 2.5, 4))), (0.2, 0.3, 0.1), WHITE, 1)
        for _ in range(30)
    ]
    rays, eye = Camera(40, 40).rays(), np.array([[0, 1.5, 0]], np.float32)
    depth, nearest = first_hits((ROOM, *parts), eye, rays)
    every = np.stack([solid.hit(eye, rays) for solid in (ROOM, *parts)])
    np.testing.assert_array_equal(depth, every.min(0))
    np.testing.assert_array_equal(nearest, every.argmin(0))


def test_a_solid_throws_a_shadow_on_the_floor_and_not_on_itself():
    ball = Solid("ball", (0, 1.5, 3), (0.4, 0.4, 0.4), WHITE, 1)
    lamp = Light(at=(0.0, 2.9, 3.0), ambient=(0, 0, 0))
    camera = Camera(96, 96, focal=0.8, eye=(0.0, 1.5, 0.0), pitch=0.2)
    plain, shaded = (
        render(Scene(camera, solids, lamp), np.random.default_rng(0)).picture.astype(int)
        for solids in ((ROOM,), (ROOM, ball))
    )
    points = camera.eye + seen(camera=camera).depth.reshape(-1, 1) * camera.rays()
    on_floor = np.abs(points[:, 1]) < 1e-3
    # The lamp's rays graze the ball 1.4 m below at sin a = 0.4 / 1.4, and meet the floor there.
    radius = 2.9 * np.tan(np.arcsin(0.4 / 1.4))
    distance = np.hypot(points[:, 0], points[:, 2] - 3)
    dark = (shaded.reshape(-1, 3).max(1) == 0) & on_floor
    free = seen(ball, camera=camera).instances.reshape(-1) == 0
    assert dark[on_floor & free & (distance < radius - 0.05)].all()
    assert not dark[on_floor & free & (distance > radius + 0.05)].any()
    top = seen(ball, camera=camera).instances == 1
    assert shaded[np.flatnonzero(top.any(1))[0], 48].max() > 0
    assert plain.max() > 0


def test_haze_takes_light_by_depth():
    haze = Light(at=(0, 3, 0), ambient=(1, 1, 1), haze=(1.0, 0.0, 0.0), density=0.3)
    camera = Camera(48, 64)
    view = render(Scene(camera, (ROOM,), haze), np.random.default_rng(0))
    picture = view.picture.astype(float)
    redness = picture[..., 0] - picture[..., 1]
    far, near = view.depth > 6.5, view.depth < 5
    assert redness[far].mean() > redness[near].mean() + 10


def test_the_camera_sees_to_the_exposure():
    from model_defs.procedures.bokeh import to_linear

    for exposure in (0.1, 0.3):
        light = to_linear(seen(exposure=exposure).picture.astype(np.float32) / 255)
        assert light.mean() == pytest.approx(exposure, rel=0.1)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_are_shares_that_repeat_at_their_scale(pattern):
    points = np.random.default_rng(0).uniform(-2, 2, (500, 3)).astype(np.float32)
    share = PATTERNS[pattern](points, 3)
    assert share.shape == (500,)
    assert share.min() >= 0
    assert share.max() <= 1
    assert (share.std() > 0.05) == (pattern != "plain")
    first = Surface((1, 0, 0), (0, 1, 0), pattern, scale=0.5, seed=3)
    np.testing.assert_allclose(first.colours(points * np.float32(0.5))[:, 0], share, atol=1e-5)
