"""Saliency: the rewrites for export equal the published equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from plain_saliency import PlainConvLSTM, gaussians
from torch import nn

from model_defs.attention import AttentiveConvLSTM
from model_defs.blocks import initialise
from model_defs.counting import macs, parameters
from model_defs.priors import GaussianPriors
from model_defs.saliency import PriorConv, Saliency


@torch.no_grad()
def test_the_rewritten_lstm_equals_the_published_loop():
    torch.manual_seed(0)
    lstm = initialise(AttentiveConvLSTM(8, (9, 11)))
    plain = PlainConvLSTM(8).take(lstm, positions=9 * 11)
    x = torch.randn(1, 8, 9, 11).relu()
    assert plain(x).std() > 0.1
    torch.testing.assert_close(lstm(x), plain(x), atol=1e-6, rtol=0)


def test_the_rewritten_lstm_does_a_fifth_less_work_with_the_same_parameters():
    with torch.device("meta"):
        x = torch.empty(1, 512, 30, 40)
        plain, fast = PlainConvLSTM(512), AttentiveConvLSTM(512, (30, 40))
    assert parameters(fast) == parameters(plain) == 23_602_688
    assert round(macs(plain, [x]) / 1e8) == 1133
    assert round(macs(fast, [x]) / 1e8) == 906


@torch.no_grad()
def test_attention_has_mean_one_so_that_8_bits_hold_it():
    torch.manual_seed(0)
    lstm, x = initialise(AttentiveConvLSTM(4, (30, 40))), torch.ones(1, 4, 30, 40)
    attended = lstm._attend(x, torch.randn(1, 4, 30, 40))
    assert attended.mean().item() == pytest.approx(1, abs=1e-5)
    assert attended.min() > 0.01


@pytest.mark.parametrize("isotropic", [False, True])
def test_priors_are_the_published_gaussians(isotropic):
    torch.manual_seed(0)
    priors = GaussianPriors(5, 6, 8, isotropic=isotropic).eval()
    mean, spread = (p.detach().double().numpy() for p in (priors.mean, priors.spread))
    expected = gaussians(mean, spread, 6, 8, isotropic)
    np.testing.assert_allclose(priors().numpy()[0], expected, rtol=0, atol=1e-6)


def test_kept_priors_equal_drawn_ones_and_are_contiguous():
    priors = GaussianPriors(16, 30, 40)
    drawn = priors().detach()
    kept = priors.eval()()
    assert torch.equal(kept, drawn)
    assert kept.is_contiguous()
    assert not kept.requires_grad


def test_priors_follow_the_weights_that_are_loaded_after_eval():
    trained, priors = GaussianPriors(3, 6, 8).eval(), GaussianPriors(3, 6, 8).eval()
    assert not torch.equal(priors(), trained())
    priors.load_state_dict(trained.state_dict())
    assert torch.equal(priors(), trained())


def test_priors_learn_in_training():
    priors = GaussianPriors(3, 6, 8).train()
    priors().sum().backward()
    assert priors.mean.grad.abs().sum() > 0
    assert priors.spread.grad.abs().sum() > 0


@torch.no_grad()
def test_priors_enter_beside_the_features():
    torch.manual_seed(0)
    layer = PriorConv(4, 12, 16, isotropic=True).eval()
    x = torch.randn(1, 4, 12, 16)
    features, priors = layer.conv.weight.split((4, 16), 1)
    options = {"padding": 8, "dilation": 4}
    of_features = nn.functional.conv2d(x, features, layer.conv.bias, **options)
    of_priors = nn.functional.conv2d(layer.priors(), priors, **options)
    torch.testing.assert_close(layer(x), (of_features + of_priors).relu(), atol=1e-6, rtol=0)


@torch.no_grad()
def test_the_map_is_enlarged_around_half_pixel_centres():
    net = Saliency(nn.Conv2d(3, 4, 1, stride=8), 4, 4, height=2, width=3)
    column = torch.zeros(1, 1, 2, 3)
    column[..., 1] = 1
    enlarged = net.upsample(column)[0, 0, 0].numpy()
    centres = (np.arange(48) + 0.5) / 16 - 0.5
    np.testing.assert_allclose(enlarged, np.clip(1 - np.abs(centres - 1), 0, 1), atol=1e-6)
