"""Samples of scenes: the same each time, at any size, with labels that agree with each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model_defs.procedures.clicks import Sampling
from model_defs.scenes import labels
from model_defs.scenes.sampling import sample

COUNT = 24


@pytest.fixture(scope="module")
def samples():
    return [sample(seed, 64, 96) for seed in range(COUNT)]


def test_a_number_is_always_the_same_sample():
    first, second = sample(5, 48, 64), sample(5, 48, 64)
    for name in ("picture", "depth", "instances", "people"):
        np.testing.assert_array_equal(getattr(first.view, name), getattr(second.view, name))
    np.testing.assert_array_equal(first.saliency, second.saliency)
    np.testing.assert_array_equal(first.hole, second.hole)
    assert not np.array_equal(first.view.picture, sample(6, 48, 64).view.picture)


@pytest.mark.parametrize(("height", "width"), [(17, 40), (96, 48), (16, 16)])
def test_any_size_will_do(height, width):
    for seed in range(4):
        drawn = sample(seed, height, width)
        assert drawn.view.picture.shape == (height, width, 3)
        for plane in (drawn.view.depth, drawn.view.instances, drawn.view.people, drawn.hole):
            assert plane.shape == (height, width)
        assert drawn.saliency.shape == (height, width)


def test_a_size_without_room_is_refused():
    with pytest.raises(ValueError, match="40 x 15 pixels are too few"):
        sample(0, 15, 40)


def test_every_pixel_has_a_depth_and_masks_partition_the_picture(samples):
    for drawn in samples:
        view = drawn.view
        assert view.depth.dtype == np.float32
        assert 0.1 < view.depth.min() <= view.depth.max() < 30
        masks = [view.instances == n for n in range(int(view.instances.max()) + 1)]
        assert sum(masks).min() == sum(masks).max() == 1
        for mask in masks[1:]:
            assert view.people[mask].all() or not view.people[mask].any()
        assert not view.people[masks[0]].any()


def test_portraits_show_a_person_and_others_things(samples):
    portraits = [sample(seed, 64, 64, portraits=1).view for seed in range(12)]
    shares = [view.people.mean() for view in portraits]
    assert min(shares) > 0.08
    assert max(shares) < 0.85
    rooms = [sample(seed, 64, 64, portraits=0) for seed in range(20)]
    assert np.mean([len(labels.objects(drawn.view)) >= 2 for drawn in rooms]) > 0.8


def test_pictures_are_bright_and_varied(samples):
    pictures = np.stack([drawn.view.picture for drawn in samples]).astype(float)
    assert 80 < pictures.mean() < 190
    assert pictures.mean((1, 2, 3)).std() > 8
    assert (pictures.std((1, 2, 3)) > 12).all()
    hues = pictures.mean((1, 2))
    assert (hues - hues.mean(1, keepdims=True)).std() > 5


def test_saliency_is_on_things_and_most_of_all_on_faces(samples):
    for drawn in samples:
        assert drawn.saliency.min() >= 0
        assert drawn.saliency.max() == 1
        things = drawn.view.instances > 0
        if 0.02 < things.mean() < 0.9:
            assert drawn.saliency[things].mean() > drawn.saliency[~things].mean()
    for seed in range(8):
        drawn = sample(seed, 64, 64, portraits=1)
        person = drawn.view.instances == 1
        face = labels.face(person)
        assert drawn.saliency[face].mean() > drawn.saliency[person & ~face].mean()


def test_clicks_are_on_and_off_the_object(samples):
    random, rules = np.random.default_rng(0), Sampling(margin=1, step=4, band=20)
    drawn = [labels.clicks(s.view, random, rules) for s in samples]
    assert sum(one is not None for one in drawn) > COUNT / 2
    for one in drawn:
        if one is not None:
            target, clicks = one
            assert all(target[y, x] for x, y in clicks.positives)
            assert not any(target[y, x] for x, y in clicks.negatives)
    empty = replace(samples[0].view, instances=np.zeros_like(samples[0].view.instances))
    assert labels.clicks(empty, random) is None


def test_rectangles_have_a_quarter_to_a_half_of_the_sides():
    random = np.random.default_rng(0)
    for _ in range(50):
        mask = labels.rectangle(random, 60, 80)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask.sum() == len(rows) * len(columns)
        assert 15 <= len(rows) <= 30
        assert 20 <= len(columns) <= 40


def test_strokes_are_irregular_and_neither_empty_nor_everything():
    random = np.random.default_rng(0)
    shares = [labels.strokes(random, 128, 128).mean() for _ in range(40)]
    assert min(shares) > 0.001
    assert max(shares) < 0.7
    assert np.std(shares) > 0.02
