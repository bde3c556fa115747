"""Depth of field against closed forms: what must stay, what must blur, and how much."""

from __future__ import annotations

import numpy as np
import pytest

from model_defs.procedures import bokeh

RNG = np.random.default_rng(0)
SIDE = 64


def checks(side: int = SIDE) -> np.ndarray:
    """A picture of fine texture."""
    return RNG.random((side, side, 3)).astype(np.float32)


def disc(side: int = SIDE, near: float = 0.8, far: float = 0.2) -> np.ndarray:
    """Nearness of a disc in front of a wall."""
    rows, columns = np.indices((side, side)) - side / 2 + 0.5
    return np.where(np.hypot(rows, columns) < side / 4, near, far).astype(np.float32)


def test_srgb_and_linear_light_are_inverse() -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32)
    np.testing.assert_allclose(bokeh.to_srgb(bokeh.to_linear(values)), values, atol=1e-5)
    assert bokeh.to_linear(np.float32(0.5)) == pytest.approx(0.2140, abs=1e-4)


def test_no_aperture_is_the_picture_itself() -> None:
    picture = checks()
    np.testing.assert_array_equal(bokeh.depth_of_field(picture, disc(), 0.8, 0), picture)


def test_a_plane_in_focus_is_the_picture_itself() -> None:
    picture = checks()
    flat = np.full((SIDE, SIDE), 0.5, np.float32)
    np.testing.assert_array_equal(bokeh.depth_of_field(picture, flat, 0.5, 20), picture)


def test_a_sharp_subject_is_untouched_up_to_its_edge() -> None:
    """White background, black subject in focus: without the guard the edge would glow."""
    nearness = disc()
    subject = nearness > 0.5
    picture = np.where(subject, 0.0, 1.0)[..., None] * np.ones(3, np.float32)
    result = bokeh.depth_of_field(picture.astype(np.float32), nearness, 0.8, 12)
    np.testing.assert_array_equal(result[subject], 0)


def test_the_background_is_blurred() -> None:
    picture, nearness = checks(), disc()
    result = bokeh.depth_of_field(picture, nearness, 0.8, 12)
    corner = (slice(0, 12), slice(0, 12))
    assert result[corner].std() < 0.5 * picture[corner].std()


def test_focus_behind_lets_the_foreground_spread_over_its_edge() -> None:
    nearness = disc()
    subject = nearness > 0.5
    picture = np.where(subject, 1.0, 0.0)[..., None] * np.ones(3, np.float32)
    result = bokeh.depth_of_field(picture.astype(np.float32), nearness, 0.2, 12)
    np.testing.assert_array_equal(result[:4, :4], 0)
    edge = result[SIDE // 2, SIDE // 2 + SIDE // 4 + 2]
    assert (edge > 0.05).all()


def test_blur_grows_with_the_distance_from_the_focus() -> None:
    nearness = np.linspace(0, 1, 11)
    radius = bokeh.blur_radius(nearness, 0.5, 10)
    np.testing.assert_allclose(radius, 10 * np.abs(nearness - 0.5), atol=1e-6)
    np.testing.assert_allclose(bokeh.blur_radius(nearness, 0.5, 10, field=0.2).max(), 3, atol=1e-6)
    assert bokeh.blur_radius(nearness, 0.5, 10, largest=2).max() == 2
    picture = checks()
    stds = [
        bokeh.depth_of_field(picture, np.full((SIDE, SIDE), d, np.float32), 0.9, 8).std()
        for d in (0.9, 0.7, 0.5, 0.2)
    ]
    assert stds == sorted(stds, reverse=True)


def test_blurring_keeps_the_light() -> None:
    picture = checks()
    flat = np.full((SIDE, SIDE), 0.2, np.float32)
    result = bokeh.depth_of_field(picture, flat, 0.8, 6)
    inside = (slice(8, -8), slice(8, -8))
    before, after = bokeh.to_linear(picture[inside]), bokeh.to_linear(result[inside])
    assert after.mean() == pytest.approx(before.mean(), rel=0.03)


def test_the_spiral_fills_a_disc_once() -> None:
    taps = list(bokeh.spiral(8.0, 96))
    offsets = [(dy, dx) for dy, dx, _ in taps]
    assert offsets[0] == (0, 0)
    assert len(set(offsets)) == len(offsets)
    assert max(distance for *_, distance in taps) <= 8.8
    assert abs(np.mean([dy for dy, _ in offsets])) < 0.5


def test_a_tap_focuses_on_the_median_of_its_patch() -> None:
    nearness = disc()
    nearness[SIDE // 2, SIDE // 2] = 0
    assert bokeh.focus_at(nearness, SIDE // 2, SIDE // 2) == pytest.approx(0.8)
    assert bokeh.focus_at(nearness, 0, 0) == pytest.approx(0.2)


def test_all_points_can_be_in_focus() -> None:
    nearness = disc()
    points = [(SIDE // 2, SIDE // 2), (2, 2)]
    focus, field = bokeh.focus_on_all(nearness, points)
    radius = bokeh.blur_radius(nearness, focus, 100, field=field)
    assert all(radius[y, x] < 1e-4 for x, y in points)


def test_upsampling_follows_the_edges_of_the_picture() -> None:
    guide = np.zeros((96, 96, 3), np.float32)
    guide[:, 41:] = 1
    coarse = np.full((12, 12), 0.2, np.float32)
    coarse[:, 6:] = 0.8
    coarse[:, 5] = 0.2
    fine = bokeh.upsample(coarse, guide)
    np.testing.assert_allclose(fine[:, :36], 0.2, atol=0.05)
    np.testing.assert_allclose(fine[:, 50:], 0.8, atol=0.05)
    step = np.abs(np.diff(fine, axis=1)).argmax(axis=1)
    np.testing.assert_array_equal(step, 40)


def test_upsampling_a_constant_gives_the_constant() -> None:
    fine = bokeh.upsample(np.full((5, 7), 0.3, np.float32), checks(40))
    np.testing.assert_allclose(fine, 0.3, atol=1e-5)


def test_grading_moves_the_two_sides_apart() -> None:
    picture, nearness = 0.2 + 0.5 * checks(), disc()
    graded = bokeh.grade(picture, nearness, 0.5)
    near = nearness > 0.5
    assert graded[near].mean() > picture[near].mean()
    assert graded[~near].mean() < picture[~near].mean()
    flat = np.full_like(nearness, 0.5)
    np.testing.assert_allclose(bokeh.grade(picture, flat, 0.5), picture, atol=1e-5)


@pytest.mark.parametrize(("left", "top"), [(10, 20), (-8, -8), (60, 60), (200, 0)])
def test_a_sticker_is_hidden_exactly_where_the_scene_is_nearer(left: int, top: int) -> None:
    picture, nearness = checks(), disc()
    sticker = np.ones((16, 16, 4), np.float32)
    result = bokeh.place_sticker(picture, nearness, sticker, left=left, top=top, at=0.5)
    covered = np.zeros((SIDE, SIDE), bool)
    covered[max(top, 0) : max(top + 16, 0), max(left, 0) : max(left + 16, 0)] = True
    shown = covered & (nearness <= 0.5)
    np.testing.assert_array_equal(result[shown], 1)
    np.testing.assert_array_equal(result[~shown], picture[~shown])
