"""Where training starts: what is drawn, and what is taken over from another net."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from model_defs.errors import BadWeights
from toolchain.training import start


def conv(inputs: int, outputs: int, kernel: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, **options)


def test_kernels_keep_the_variance_of_what_is_rectified() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*(m for _ in range(6) for m in (conv(128, 128, 1), nn.ReLU())))
    start.draw(nn.Sequential(net, conv(1, 1)))
    x = torch.randn(1, 128, 8, 8)
    found = net(x).detach()
    assert 0.4 < float(found.square().mean() / x.square().mean()) < 2.5


def test_batchnorm_starts_as_identity() -> None:
    norm = nn.BatchNorm2d(4)
    norm.running_mean += 3
    start.draw(nn.Sequential(norm))
    x = torch.randn(2, 4, 3, 3)
    assert torch.allclose(norm.eval()(x), x, atol=1e-4)


def test_a_transposed_kernel_enlarges_each_channel_by_itself() -> None:
    up = nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1, bias=False)
    start.draw(nn.Sequential(up))
    plane = torch.arange(36.0).reshape(1, 1, 6, 6)
    found = up(torch.cat((plane, torch.zeros_like(plane)), 1))
    wanted = nn.functional.interpolate(plane, scale_factor=2, mode="bilinear")
    assert torch.allclose(found[:, :1, 2:-2, 2:-2], wanted[:, :, 2:-2, 2:-2], atol=1e-4)
    assert not found[:, 1].any()


def test_of_a_dilated_kernel_only_the_middle_is_drawn() -> None:
    dilated = conv(3, 5, 7, dilation=16)
    start.draw(nn.Sequential(dilated, conv(1, 1)))
    assert dilated.weight[:, :, 3, 3].all()
    dilated.weight.data[:, :, 3, 3] = 0
    assert not dilated.weight.any()


def test_the_last_convolution_is_quiet_and_keeps_its_bias() -> None:
    net = nn.Sequential(conv(64, 64), conv(64, 64))
    bias = net[1].bias.clone()
    start.draw(net)
    spreads = [layer.weight.detach().std().item() for layer in net]
    assert spreads[1] / spreads[0] == pytest.approx(start.QUIET, rel=0.1)
    assert not net[0].bias.any()
    assert torch.equal(net[1].bias, bias)


def test_names_fit_from_their_ends(tmp_path: Path) -> None:
    small = nn.Sequential(conv(3, 4))
    path = tmp_path / "small.safetensors"
    save_file({f"trunk.{name}": value for name, value in small.state_dict().items()}, path)
    large = nn.Module()
    large.net = nn.Module()
    large.net.trunk = nn.Sequential(conv(3, 4))
    large.net.other = nn.Sequential(conv(3, 4))
    before = large.net.other[0].weight.clone()
    assert start.load(large, path) == 2
    assert torch.equal(large.net.trunk[0].weight, small[0].weight)
    assert torch.equal(large.net.other[0].weight, before)


def test_a_kernel_that_sees_more_is_zero_there(tmp_path: Path) -> None:
    narrow, wide = nn.Sequential(conv(3, 4)), nn.Sequential(conv(4, 4))
    path = tmp_path / "narrow.safetensors"
    save_file(narrow.state_dict(), path)
    start.load(wide, path)
    assert torch.equal(wide[0].weight[:, :3], narrow[0].weight)
    assert not wide[0].weight[:, 3].any()


def test_weights_of_which_nothing_fits_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file(nn.Sequential(conv(3, 7, 5)).state_dict(), path)
    with pytest.raises(BadWeights, match="no tensor of the file fits"):
        start.load(nn.Sequential(conv(3, 4)), path)
