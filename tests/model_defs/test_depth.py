"""Depth: its size, its parts, and that an untrained one still says something."""

from __future__ import annotations

import torch

from model_defs import zoo


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_the_whole_and_its_parts_have_the_published_sizes(built):
    assert parameters(built("depth")) == 3_960_930
    assert parameters(built("depth-trunk")) == 3_206_976
    assert parameters(built("depth-head")) == 753_954


@torch.no_grad()
def test_the_head_on_the_trunk_is_the_whole(built, picture):
    image = picture(64, 64)
    features = built("depth-trunk")(image)
    assert torch.equal(built("depth-head")(*features), built("depth")(image))


@torch.no_grad()
def test_features_have_the_shapes_and_bounds_that_the_head_is_told(built, picture):
    features = built("depth-trunk")(picture(256, 256))
    declared = zoo.load("depth-trunk").outputs
    assert zoo.load("depth-head").inputs == declared
    assert [tuple(f.shape) for f in features] == [spec.shape for spec in declared]
    assert all(f.min() >= 0.0 and f.max() <= 6.0 for f in features)
    assert all((spec.low, spec.high) == (0.0, 6.0) for spec in declared)


@torch.no_grad()
def test_an_untrained_map_varies_over_the_picture_and_is_not_saturated(built, picture):
    depth = built("depth")(picture(256, 256))
    assert depth.std() > 0.05
    assert 0.02 < depth.min() < depth.max() < 0.98
