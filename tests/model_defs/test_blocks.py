"""Shared layers, and what the initialisation of untrained nets promises."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from model_defs import zoo
from model_defs.blocks import conv_bn, foreground_of, initialise, separable, tent
from model_defs.counting import macs, parameters
from model_defs.resnet import Bottleneck, damp

# Sizes at which a model runs fast; a map of the picture must vary by more than this.
SMALL = {
    "select": (256, 256, 0.02),
    "select-coarse": (256, 256, 0.03),
    "portrait": (224, 224, 0.025),
    "portrait-video": (224, 224, 0.02),
    "depth": (256, 256, 0.05),
    "depth-upproj": (64, 96, 0.03),
    "saliency": (240, 320, 0.05),
    "inpaint": (128, 128, 0.05),
    "inpaint-lite": (128, 128, 0.05),
    "inpaint-reflect": (200, 200, 0.05),
    "inpaint-pconv": (256, 256, 0.05),
}


def inputs(name, image):
    """What a model gets for a picture in 0..1: clicks, masks and states are made up."""
    _, _, height, width = image.shape
    given = []
    for tensor in zoo.load(name).inputs:
        if tensor.kind == "image":
            pixels = 255 * (image.flip(1) if tensor.preprocess.colour == "BGR" else image)
            mean, std = (
                torch.tensor(values)[:, None, None]
                for values in (tensor.preprocess.mean, tensor.preprocess.std)
            )
            given.append((pixels - mean) / std)
        elif tensor.kind == "mask":
            hole = torch.zeros(1, 1, height, width)
            hole[..., height // 4 : height // 2, width // 4 : width // 2] = 1
            given.append(hole)
        else:
            given.append(torch.linspace(0, 1, width).expand(1, tensor.shape[1], height, width))
    return given


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_an_untrained_net_says_something_that_depends_on_the_picture(name, built, picture):
    height, width, spread = SMALL[name]
    net, image = built(name), picture(height, width)
    shown, mirrored = net(*inputs(name, image)), net(*inputs(name, image.flip(1, 3)))
    assert shown.isfinite().all()
    assert shown.std() > spread
    assert (shown - mirrored).abs().mean() > 0.005


def in_float16(net):
    """The net with weights in float16, the result of every layer rounded to it."""
    for tensor in (*net.parameters(), *net.buffers()):
        tensor.data = tensor.data.half().float() if tensor.is_floating_point() else tensor.data
    for layer in net.modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda _, __, output: output.half().float())
    return net


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_what_an_untrained_net_says_survives_float16(name, built, picture):
    height, width, _ = SMALL[name]
    given = inputs(name, picture(height, width))
    shown, rounded = built(name)(*given), in_float16(built(name))(*given)
    (output,) = zoo.load(name).outputs
    assert 0 < (shown - rounded).abs().max() < output.tolerance


@torch.no_grad()
def test_damped_residual_blocks_keep_float16s_rounding_small():
    """The guard of `damp`: sixteen blocks at full strength are chaotic."""
    errors = []
    for share in (1.0, 0.3):
        shown = []
        for change in (nn.Module.eval, in_float16):
            torch.manual_seed(0)
            blocks = (Bottleneck(64, 16, 1, 1, False, shortcut=False) for _ in range(16))
            net = change(damp(initialise(nn.Sequential(*blocks), gain=1.1), share))
            shown.append(net(torch.rand(1, 64, 24, 24, generator=torch.manual_seed(1))))
        errors.append((shown[0] - shown[1]).std() / shown[0].std())
    assert errors[1] < errors[0] / 4


@torch.no_grad()
def test_the_same_seed_gives_the_same_net():
    nets = []
    for _ in range(2):
        torch.manual_seed(3)
        nets.append(initialise(separable(4, 8)))
    first, second = (net.state_dict() for net in nets)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_dense_kernels_keep_the_variance_of_rectified_activations():
    torch.manual_seed(0)
    conv = initialise(nn.Conv2d(256, 256, 1))
    x = torch.randn(1, 256, 32, 32).relu()
    assert conv(x).std().item() == pytest.approx(1, rel=0.05)


def test_batchnorm_is_far_from_identity():
    torch.manual_seed(0)
    norm = initialise(nn.Sequential(nn.Conv2d(1, 64, 1), nn.BatchNorm2d(64), nn.ReLU()))[1]
    moments = (norm.weight - 1, norm.bias, norm.running_mean, norm.running_var - 1)
    assert all(values.abs().max() > 0.05 for values in moments)


def test_contrast_amplifies_the_first_layer_only():
    nets = []
    for contrast in (1.0, 4.0):
        torch.manual_seed(0)
        nets.append(initialise(separable(4, 8), contrast=contrast))
    plain, amplified = ([p.detach() for p in net.parameters()] for net in nets)
    assert torch.equal(4 * plain[0], amplified[0])
    assert all(torch.equal(a, b) for a, b in zip(plain[1:], amplified[1:], strict=True))


@pytest.mark.parametrize("factor", [2, 4, 16])
@torch.no_grad()
def test_a_tent_is_bilinear_upsampling_away_from_the_border(factor):
    conv = nn.ConvTranspose2d(1, 1, 2 * factor, factor, factor // 2, bias=False)
    conv.weight.copy_(tent(conv))
    x = torch.randn(1, 1, 6, 7)
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    inner = (..., slice(factor, -factor), slice(factor, -factor))
    torch.testing.assert_close(conv(x)[inner], expected[inner], atol=1e-5, rtol=0)


def test_foreground_is_the_second_channel_of_a_softmax():
    logits = 5 * torch.randn(2, 2, 8, 9)
    torch.testing.assert_close(foreground_of(logits), logits.softmax(1)[:, 1:], atol=1e-6, rtol=0)


def test_macs_of_a_grouped_a_transposed_and_a_dilated_convolution():
    x = torch.empty(1, 8, 10, 12)
    assert macs(nn.Conv2d(8, 4, 3, padding=2, dilation=2), [x]) == 10 * 12 * 4 * 8 * 9
    assert macs(nn.Conv2d(8, 8, 3, padding=1, groups=8), [x]) == 10 * 12 * 8 * 9
    assert macs(nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1), [x]) == 10 * 12 * 8 * 4 * 16


def test_parameters_leave_running_statistics_out():
    assert parameters(conv_bn(2, 3, 5)) == 2 * 3 * 25 + 2 * 3


def test_the_rectified_variance_is_that_of_a_gaussian():
    x = torch.randn(1_000_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert x.relu().var().item() == pytest.approx((1 - 1 / math.pi) / 2, rel=0.01)
