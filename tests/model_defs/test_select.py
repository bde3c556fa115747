"""Interactive selection: scales that halve exactly, and clicks that reach the trunk last."""

from __future__ import annotations

import pytest
import torch

from model_defs.blocks import initialise
from model_defs.select import Fire, Refinement, Select, SqueezeNet
from model_defs.vgg_fcn import build as build_baseline


def test_scales_halve_exactly():
    with torch.device("meta"):
        features = SqueezeNet(5)(torch.empty(1, 5, 512, 512))
    shapes = [tuple(f.shape[1:]) for f in features]
    assert shapes == [
        (64, 256, 256),
        (64, 128, 128),
        (128, 64, 64),
        (256, 32, 32),
        (512, 32, 32),
    ]


def test_a_fire_expands_by_two_kernels_side_by_side():
    fire, x = Fire(6, 2, 4), torch.randn(1, 6, 5, 5)
    squeezed = fire.squeeze(x)
    assert torch.equal(fire(x)[:, :4], fire.expand1(squeezed))
    assert torch.equal(fire(x)[:, 4:], fire.expand3(squeezed))


def test_a_refinement_repeats_the_rectified_sum_of_both_ways():
    refine = Refinement(skip=6, hidden=5, width=4)
    x, skip = torch.randn(1, 4, 3, 3), torch.randn(1, 6, 3, 3)
    y = refine(x, skip)
    expected = (refine.horizontal(skip) + refine.vertical(x)).relu()
    assert y.shape == (1, 2, 6, 6)
    assert all(torch.equal(y[:, :, dy::2, dx::2], expected) for dy in (0, 1) for dx in (0, 1))


@pytest.mark.parametrize(("channel", "source"), [(0, 0), (2, 0), (3, 1), (4, 1)])
@torch.no_grad()
def test_the_trunk_sees_the_image_then_positive_then_negative_clicks(channel, source):
    torch.manual_seed(0)
    net = initialise(Select(), contrast=4.0).eval()
    weight = net.trunk.stem[0].weight
    weight.mul_(torch.nn.functional.one_hot(torch.tensor(channel), 5)[:, None, None])
    given = [torch.rand(1, 3, 64, 64), torch.rand(1, 2, 64, 64)]
    before = net(*given)
    given[1 - source] = torch.rand_like(given[1 - source])
    assert torch.equal(net(*given), before)
    given[source][:, channel - 3 * source] = 0.5
    assert not torch.equal(net(*given), before)


def test_the_baseline_upsamples_each_class_by_itself():
    with torch.device("meta"):
        net = build_baseline()
    assert net.upsample8.weight.shape == (2, 2, 16, 16)
