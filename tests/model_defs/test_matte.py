"""Mattes have no hard halo; styles are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from model_defs.procedures import matte

RNG = np.random.default_rng(0)


def ragged(side: int = 48) -> np.ndarray:
    """A disc with 3 % of its pixels wrong."""
    rows, columns = np.indices((side, side)) - side / 2 + 0.5
    disc = np.hypot(rows, columns) < side / 3
    return (disc ^ (RNG.random(disc.shape) < 0.03)).astype(np.float32)


@pytest.mark.parametrize("radius", [1.0, 2.0, 5.0])
def test_the_gradient_is_bounded_however_ragged_the_mask(radius: float) -> None:
    alpha = matte.feather(ragged(), radius)
    steepest = max(np.abs(np.diff(alpha, axis=axis)).max() for axis in (0, 1))
    assert steepest <= 1 / (2 * radius) + 1e-6
    assert alpha.min() == 0


def test_a_straight_edge_becomes_a_ramp() -> None:
    mask = np.zeros((4, 20), np.float32)
    mask[:, 10:] = 1
    ramp = matte.feather(mask, 2.0)[0, 6:14]
    np.testing.assert_allclose(ramp, [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1], atol=1e-6)


def test_shrinking_moves_the_edge_inwards() -> None:
    mask = np.zeros((4, 20), np.float32)
    mask[:, 10:] = 1
    np.testing.assert_allclose(
        matte.feather(mask, 2.0, shrink=2)[0, 2:], matte.feather(mask, 2.0)[0, :-2], atol=1e-6
    )


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_full_and_empty_masks_stay(value: float) -> None:
    mask = np.full((5, 6), value, np.float32)
    np.testing.assert_array_equal(matte.feather(mask, 3), mask)


def test_a_radius_must_be_positive() -> None:
    with pytest.raises(ValueError, match="not positive"):
        matte.feather(ragged(), 0)


def portrait() -> tuple[np.ndarray, np.ndarray]:
    picture = RNG.random((48, 48, 3)).astype(np.float32)
    return picture, matte.feather(ragged(), 2)


def test_composite_is_exact_at_the_ends() -> None:
    front, back = RNG.random((2, 4, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(matte.composite(front, back, np.ones((4, 4))), front)
    np.testing.assert_array_equal(matte.composite(front, back, np.zeros((4, 4))), back)


def test_double_exposure_shows_the_second_picture_in_the_shadows() -> None:
    dark, alpha = np.zeros((48, 48, 3), np.float32), portrait()[1]
    second = RNG.random((48, 48, 3)).astype(np.float32)
    result = matte.double_exposure(dark, alpha, second)
    np.testing.assert_allclose(result[alpha == 1], second[alpha == 1], atol=1e-6)
    np.testing.assert_allclose(result[alpha == 0], 0.95, atol=1e-6)


def test_stencil_has_two_colours() -> None:
    picture, _ = portrait()
    result = matte.stencil(picture, np.ones((48, 48), np.float32), softness=1e-6)
    assert len(np.unique(result.reshape(-1, 3).round(4), axis=0)) == 2


def test_colour_pop_keeps_the_person_and_greys_the_rest() -> None:
    picture, alpha = portrait()
    result = matte.colour_pop(picture, alpha)
    np.testing.assert_array_equal(result[alpha == 1], picture[alpha == 1])
    outside = result[alpha == 0]
    np.testing.assert_allclose(outside, outside[:, :1].repeat(3, axis=1))


@pytest.mark.parametrize("style", [matte.stencil, matte.colour_pop])
def test_styles_render_the_same_every_time(style: object) -> None:
    picture, alpha = portrait()
    assert callable(style)
    first = style(picture, alpha)
    np.testing.assert_array_equal(first, style(picture, alpha))
    assert first.min() >= 0
    assert first.max() <= 1
