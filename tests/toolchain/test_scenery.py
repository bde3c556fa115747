"""Scenes that are kept, and what is done to them before a net sees them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_defs.scenes import sampling
from model_defs.scenes.render import View
from toolchain.data import scenery
from toolchain.data.task import HELD_OUT, SEEDS_APART
from toolchain.training.augment import cut, textured


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the scenes that are drawn, in an empty cache."""
    numbers: list[int] = []
    whole = sampling.sample

    def counted(seed: int, height: int, width: int, *, portraits: float) -> sampling.Sample:
        numbers.append(seed)
        return whole(seed, 16, 16, portraits=portraits)

    monkeypatch.setattr(scenery, "folder", lambda: tmp_path)
    monkeypatch.setattr(scenery.sampling, "sample", counted)
    return numbers


def same(one: View, other: View) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("picture", "depth", "instances", "people")
    )


def test_a_scene_is_drawn_once(drawn: list[int]) -> None:
    first = scenery.view("portrait", 3)
    assert same(first, scenery.view("portrait", 3))
    assert drawn == [3]


def test_a_training_sees_the_same_scenes_again(drawn: list[int]) -> None:
    scenery.view("still", 5 + scenery.SCENES)
    scenery.view("still", 2 * SEEDS_APART + scenery.SCENES + 5)
    assert drawn == [5, 2 * SEEDS_APART + 5]


def test_what_is_held_out_is_never_trained_on(drawn: list[int]) -> None:
    scenery.view("still", HELD_OUT + 5)
    assert drawn == [HELD_OUT + 5]


def test_a_damaged_file_is_drawn_again(drawn: list[int], tmp_path: Path) -> None:
    first = scenery.view("portrait", 3)
    (path,) = tmp_path.rglob("*.npz")
    path.write_bytes(path.read_bytes()[:100])
    assert same(first, scenery.view("portrait", 3))
    assert drawn == [3, 3]


@pytest.fixture
def view() -> View:
    return sampling.sample(1, 64, 64, portraits=1.0).view


def test_a_cut_keeps_labels_on_their_pixels(view: View) -> None:
    white = np.repeat(view.people[..., None], 3, axis=2).astype(np.uint8) * 255
    for seed in range(8):
        part = cut(replace(view, picture=white), 48, 32, np.random.default_rng(seed))
        assert part.picture.shape == (48, 32, 3)
        assert ((part.picture[..., 0] > 127) == part.people).mean() > 0.95
        assert set(np.unique(part.instances)) <= set(np.unique(view.instances))
        assert set(np.unique(part.depth)) <= set(np.unique(view.depth))


def test_texture_changes_things_whole_or_not_at_all(view: View) -> None:
    changed = 0
    for seed in range(12):
        picture = textured(view, np.random.default_rng(seed))
        for number in np.unique(view.instances):
            mask = view.instances == number
            same = np.array_equal(picture[mask], view.picture[mask])
            changed += not same
    assert 0 < changed < 12 * len(np.unique(view.instances))
