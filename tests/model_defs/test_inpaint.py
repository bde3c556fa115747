"""Inpainting by GMCNN: exact rewrites, and pixels outside the hole that stay as they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model_defs.blocks import initialise
from model_defs.inpaint import GMCNN, composite


@pytest.fixture
def hole():
    mask = torch.zeros(1, 1, 64, 72)
    mask[..., 10:30, 40:72] = 1  # touches the border
    return mask


def small(**options):
    torch.manual_seed(0)
    return initialise(GMCNN(4, **options), gain=0.8).eval()


@torch.no_grad()
def test_summed_merges_equal_one_merge_of_the_branches_side_by_side(hole):
    net, image = small(), torch.rand(1, 3, 64, 72) * 2 - 1
    x = torch.cat((image * (1 - hole), torch.ones_like(hole), hole), 1)
    side_by_side = torch.cat((net.far(x), net.middle(x), net.near(x)), 1)
    merges = (net.merge_far, net.merge_middle, net.merge_near)
    kernel = torch.cat([merge.weight for merge in merges], 1)
    merged = nn.functional.conv2d(side_by_side, kernel, net.merge_far.bias, padding=1)
    expected = composite(net.draw(merged).clamp(-1, 1), image, hole)
    torch.testing.assert_close(net(image, hole), expected, atol=1e-6, rtol=0)
    assert (expected - image)[hole.expand_as(image) == 1].abs().mean() > 0.05


@pytest.mark.parametrize("port", [False, True])
@torch.no_grad()
def test_pixels_outside_the_hole_are_unchanged(port):
    net, image = small(port=port), torch.rand(1, 3, 200, 200) * 2 - 1
    mask = torch.zeros(1, 1, 200, 200)
    mask[..., 20:60, 100:200] = 1
    result = net(image, mask)
    outside = mask.expand_as(image) == 0
    assert torch.equal(result[outside], image[outside])
    assert result.abs().max() <= 1


@torch.no_grad()
def test_what_is_in_the_hole_is_not_seen(hole):
    net, image = small(), torch.rand(1, 3, 64, 72) * 2 - 1
    other = torch.where(hole == 1, torch.rand_like(image), image)
    torch.testing.assert_close(net(image, hole), net(other, hole), atol=0, rtol=0)


@torch.no_grad()
def test_no_picture_sized_constant_is_traced(hole):
    net, image = small(), torch.rand(1, 3, 64, 72)
    graph = torch.jit.trace(net, (image, hole)).inlined_graph
    constants = [node.output().toIValue() for node in graph.findAllNodes("prim::Constant")]
    assert constants
    assert all(c.numel() == 1 for c in constants if isinstance(c, torch.Tensor))
    assert {"aten::ones", "aten::ones_like", "aten::full"}.isdisjoint(
        node.kind() for node in graph.nodes()
    )


@pytest.mark.parametrize("mask", [0.0, 1.0])
@torch.no_grad()
def test_the_constant_channel_is_one(mask):
    mask = torch.full((1, 1, 8, 8), mask)
    inputs = small()._inputs(torch.rand(1, 3, 8, 8), mask)
    assert torch.equal(inputs[:, 3:4], torch.ones(1, 1, 8, 8))
    assert torch.equal(inputs[:, 4:], mask)


@torch.no_grad()
def test_the_constant_channel_changes_the_border_only():
    """Hence it can be neither left out nor folded into the biases."""
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 1, 7, padding=3)
    seen = conv(torch.ones(1, 1, 20, 20))[0, 0]
    assert torch.allclose(seen[3:-3, 3:-3], seen[10, 10])
    assert (seen[0] - seen[10, 10]).abs().max() > 0.01


def test_the_port_needs_196_pixels():
    with torch.device("meta"):
        net = GMCNN(4, port=True)
        assert net(torch.empty(1, 3, 196, 196), torch.empty(1, 1, 196, 196)).shape[-1] == 196
        with pytest.raises(RuntimeError, match="Padding size should be less"):
            net(torch.empty(1, 3, 192, 192), torch.empty(1, 1, 192, 192))
