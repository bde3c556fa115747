"""Graph cut: the least energy of all masks, and clicks that never change sides."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from model_defs.procedures.clicks import Clicks
from model_defs.procedures.refine import minimum_cut, pairwise_costs, refine, unary_costs


def energy(mask, inside, outside, across, down):
    cost = np.where(mask, inside, outside).sum()
    cost += across[mask[:, 1:] != mask[:, :-1]].sum()
    return cost + down[mask[1:] != mask[:-1]].sum()


@pytest.mark.parametrize("seed", range(8))
def test_no_mask_costs_less(seed):
    random = np.random.default_rng(seed)
    inside, outside = random.integers(0, 60, (2, 3, 4)).astype(np.int32)
    across, down = (random.integers(0, 40, s).astype(np.int32) for s in ((3, 3), (2, 4)))
    costs = inside, outside, across, down
    masks = (np.reshape(bits, (3, 4)) for bits in itertools.product((False, True), repeat=12))
    cheapest = min(energy(mask, *costs) for mask in masks)
    assert energy(minimum_cut(*costs), *costs) == cheapest


def test_costs_are_those_of_the_energy():
    probability = np.array([[0.5, 0.25]], np.float32)
    inside, outside = unary_costs(probability, Clicks(), trust=2.0)
    np.testing.assert_allclose(inside[0] / 256, -2 * np.log([0.5, 0.25]), atol=0.003)
    np.testing.assert_allclose(outside[0] / 256, -2 * np.log([0.5, 0.75]), atol=0.003)
    across, down = pairwise_costs(np.array([[0.1, 0.4], [0.1, 0.1]], np.float32), sigma=0.2)
    np.testing.assert_allclose(across[:, 0] / 256, [np.exp(-(0.3**2) / 0.08), 1], atol=0.003)
    np.testing.assert_allclose(down[0] / 256, [1, np.exp(-(0.3**2) / 0.08)], atol=0.003)


@pytest.fixture
def noisy():
    """A disc, a picture of it, and a net's opinion with noise and a wrong blob."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:96, :96]
    disc = np.hypot(rows - 48, columns - 48) < 30
    picture = np.where(disc, 0.7, 0.3)[..., None] + random.normal(0, 0.03, (96, 96, 3))
    probability = np.where(disc, 0.65, 0.35) + random.normal(0, 0.25, disc.shape)
    return disc, picture.astype(np.float32), probability.clip(0, 1).astype(np.float32)


def overlap(mask, target):
    return (mask & target).sum() / (mask | target).sum()


def test_a_noisy_disc_becomes_a_disc(noisy):
    disc, picture, probability = noisy
    before = overlap(probability > 0.5, disc)
    after = overlap(refine(probability, picture, Clicks()), disc)
    assert before < 0.8
    assert after > 0.95


def test_a_clicked_pixel_never_changes_sides(noisy):
    disc, picture, _ = noisy
    sure = np.where(disc, 1.0, 0.0).astype(np.float32)
    clicks = Clicks(positives=((2, 3), (90, 50)), negatives=((48, 48),))
    mask = refine(sure, picture, clicks, trust=3.0)
    assert all(mask[y, x] for x, y in clicks.positives)
    assert not any(mask[y, x] for x, y in clicks.negatives)
    assert (mask != disc).sum() == 3


def test_a_sure_net_is_believed(noisy):
    disc, picture, _ = noisy
    assert (refine(np.where(disc, 1, 0).astype(np.float32), picture, Clicks()) == disc).all()
