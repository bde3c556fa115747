"""Up-projection: the interleaved small convolutions equal the naive one over stuffed zeros."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from model_defs.upproj import EPSILON, UpConvolution, UpProjDepth


def naive(fast, x):
    """Zeros between and after the values, then one 5x5 kernel put together from the four."""
    outputs, inputs = fast.even_even.weight.shape[:2]
    kernel = torch.zeros(outputs, inputs, 5, 5)
    stuffed = torch.zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    bias = torch.zeros(1, outputs, *stuffed.shape[2:])
    stuffed[:, :, ::2, ::2] = x
    phases = ((fast.even_even, fast.even_odd), (fast.odd_even, fast.odd_odd))
    for row in (0, 1):
        for column in (0, 1):
            conv = phases[row][column]
            kernel[:, :, row::2, column::2] = conv.weight
            bias[:, :, row::2, column::2] = conv.bias[:, None, None]
    return F.conv2d(stuffed, kernel, padding=2) + bias


@pytest.mark.parametrize("size", [(4, 5), (1, 1), (3, 8)])
@torch.no_grad()
def test_interleaved_equals_naive(size):
    torch.manual_seed(0)
    fast, x = UpConvolution(3, 2), torch.randn(1, 3, *size)
    torch.testing.assert_close(fast(x), naive(fast, x), atol=1e-6, rtol=0)


def test_every_batchnorm_has_the_epsilon_of_the_released_weights():
    with torch.device("meta"):
        norms = [m for m in UpProjDepth().modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 53 + 1 + 4 * 3
    assert {norm.eps for norm in norms} == {EPSILON}


@torch.no_grad()
def test_an_untrained_depth_is_positive(built, picture):
    assert built("depth-upproj")(255 * picture(64, 96)).min() > 0
