"""Clicks: exact maps, a simulator that keeps its distances, a robot that finds the worst error."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_defs.procedures.clicks import (
    Clicks,
    Sampling,
    click_maps,
    clicks_needed,
    next_click,
    simulate,
)

SIZE = 96, 128


def disc(x, y, radius, size=SIZE):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.hypot(columns - x, rows - y) <= radius


def distance(point, mask):
    """From a pixel to the nearest true pixel, one by one."""
    rows, columns = np.nonzero(mask)
    return np.hypot(columns - point[0], rows - point[1]).min()


@given(
    st.lists(st.tuples(st.integers(0, 39), st.integers(0, 29)), max_size=4),
    st.lists(st.tuples(st.integers(0, 39), st.integers(0, 29)), min_size=1, max_size=4),
)
@settings(max_examples=30, deadline=None)
def test_maps_are_the_distance_to_the_nearest_click_of_a_sign(positives, negatives):
    maps = click_maps(Clicks(tuple(positives), tuple(negatives)), (30, 40))
    assert maps.shape == (2, 30, 40)
    assert maps.dtype == np.float32
    for drawn, points in zip(maps, (positives, negatives), strict=True):
        for y, x in itertools.product(range(30), range(40)):
            nearest = min((np.hypot(x - px, y - py) for px, py in points), default=255.0)
            assert drawn[y, x] == np.float32(min(nearest, 255.0) / 255.0)


def test_maps_are_cut_off_at_255_pixels():
    maps = click_maps(Clicks(positives=((0, 0),)), (4, 400))
    assert maps[0, 0, 51] == np.float32(0.2)
    assert maps[0, 0, 254] < 1
    assert (maps[0, :, 255:] == 1).all()
    assert (maps[1] == 1).all()


@pytest.mark.parametrize("strategy", ["background", "objects", "outline"])
def test_simulated_clicks_keep_their_distances_and_counts(strategy):
    rules, counts = Sampling(), []
    for seed in range(60):
        random = np.random.default_rng(seed)
        target = disc(*random.integers(25, 70, 2), random.integers(10, 22))
        other = disc(105, 70, 18) & ~target
        clicks = simulate(target, [other], strategy, random)
        counts.append(len(clicks.negatives))
        assert 1 <= len(clicks.positives) <= 5
        assert all(distance(p, ~target) > rules.margin for p in clicks.positives)
        for points in (clicks.positives, clicks.negatives):
            steps = (
                np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in itertools.combinations(points, 2)
            )
            assert all(step > rules.step for step in steps)
        for point in clicks.negatives:
            if strategy == "objects":
                assert distance(point, ~other) > rules.margin
            else:
                assert rules.margin < distance(point, target) <= rules.band
    limits = {"background": (0, 10), "objects": (0, 5), "outline": (10, 10)}[strategy]
    assert (min(counts), max(counts)) == limits


def test_outline_clicks_surround_the_object():
    target = disc(64, 48, 12)
    clicks = simulate(target, [], "outline", np.random.default_rng(0))
    angles = np.sort([np.arctan2(y - 48, x - 64) for x, y in clicks.negatives])
    gaps = np.diff(np.append(angles, angles[0] + 2 * np.pi))
    assert gaps.max() < np.pi / 2


def test_there_are_fewer_clicks_where_there_is_no_room():
    everything = np.ones(SIZE, bool)
    clicks = simulate(everything, [], "outline", np.random.default_rng(0))
    assert clicks.positives
    assert clicks.negatives == ()
    tiny = disc(20, 20, 3)
    assert simulate(tiny, [], "background", np.random.default_rng(1)).positives == ()
    corner = disc(0, 0, 8, (24, 24))
    assert 1 <= len(simulate(corner, [], "outline", np.random.default_rng(2)).negatives) < 10


def test_the_robot_clicks_the_middle_of_the_largest_error():
    target = disc(40, 40, 20)
    predicted = target & ~disc(40, 40, 9) | disc(100, 80, 5)
    assert next_click(predicted, target) == ((40, 40), True)
    assert next_click(target | disc(100, 60, 9), target) == ((100, 60), False)
    assert next_click(target, target) is None


def test_the_picture_edge_is_a_border_to_the_robot():
    target = np.zeros((9, 30), bool)
    target[:, :5] = True
    assert next_click(np.zeros_like(target), target) == ((2, 2), True)


def test_clicks_are_counted_until_the_overlap_is_reached():
    target = disc(30, 40, 12) | disc(80, 40, 12) | disc(110, 80, 6)

    def predict(clicks):
        found = [disc(x, y, 12) & target for x, y in clicks.positives]
        return np.logical_or.reduce(found)

    assert clicks_needed(predict, target, iou=0.4) == 1
    assert clicks_needed(predict, target, iou=0.85) == 2
    assert clicks_needed(predict, target, iou=1.0) == 3
    assert clicks_needed(lambda clicks: ~target, target) == 20
