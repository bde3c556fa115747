"""Partial convolutions: the published equation, and no NaN in float16 for any mask."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from model_defs.inpaint_pconv import PartialConv, UNet


def published(layer, sources, stride):
    """Liu 2018, equations 1 and 2, with a mask channel for each channel, in float64."""
    x = torch.cat([values for values, _ in sources], 1).double()
    masks = torch.cat([mask.expand_as(values) for values, mask in sources], 1).double()
    kernel = layer.conv.weight.double()
    size = kernel.shape[-1]
    options = {"stride": stride, "padding": size // 2}
    counted = F.conv2d(masks, torch.ones_like(kernel[:1]), **options)
    drawn = F.conv2d(x * masks, kernel, **options)
    scaled = drawn * size * size * x.shape[1] / counted + layer.bias.double()
    return torch.where(counted > 0, scaled, 0.0).float(), (counted > 0).float()


@pytest.mark.parametrize(
    ("channels", "kernel", "stride"),
    [((3,), 7, 2), ((8,), 3, 2), ((4, 8), 3, 1), ((3, 64), 3, 1)],
)
@torch.no_grad()
def test_one_mask_channel_a_source_equals_the_published_equation(channels, kernel, stride):
    torch.manual_seed(0)
    layer = PartialConv(channels, 5, kernel, stride, norm=False, activation=nn.Identity())
    sources = []
    for count in channels:
        mask = (F.interpolate(torch.rand(1, 1, 5, 5), (20, 20)) > 0.5).float()
        sources.append((torch.randn(1, count, 20, 20), mask))
    values, known = layer(*sources)
    expected, valid = published(layer, sources, stride)
    assert 0 < valid.mean() < 1
    assert torch.equal(known, valid)
    torch.testing.assert_close(values, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("channels", [(3,), (512,), (512, 512), (256, 512), (3, 64)])
def test_counts_are_integers_that_float16_holds(channels):
    layer = PartialConv(channels, 1, 3, activation=nn.ReLU())
    assert layer.window.sum() == layer.full
    assert layer.full <= 2048
    assert torch.equal(layer.window, layer.window.round())
    assert layer.window.is_contiguous()


def masks(size):
    empty = torch.zeros(1, 1, size, size)
    pixel, border, known_pixel = empty.clone(), empty.clone(), empty + 1
    pixel[..., 7, 9] = 1
    border[..., :, : size // 2] = 1
    known_pixel[..., 100, 30] = 0
    return {
        "empty": empty,
        "full": empty + 1,
        "one hole": pixel,
        "to the border": border,
        "one known": known_pixel,
    }


@pytest.mark.parametrize("case", masks(256))
@torch.no_grad()
def test_float16_gives_no_nan_and_the_numbers_of_float32(case):
    torch.manual_seed(0)
    layer = PartialConv((3, 64), 6, 3, norm=False, activation=nn.ReLU())
    mask = masks(256)[case][..., 90:122, 10:42]
    sources = [(torch.rand(1, n, 32, 32), 1 - mask) for n in (3, 64)]
    halves = [(values.half(), known.half()) for values, known in sources]
    expected, known = layer(*sources)
    found, known_half = layer.half()(*halves)
    assert found.isfinite().all()
    assert torch.equal(known_half.float(), known)
    torch.testing.assert_close(found.float(), expected, atol=2e-3, rtol=2e-2)


@torch.no_grad()
def test_the_published_ratio_would_be_nan_in_a_hole():
    """The guard of the guard: what `PartialConv` does differently."""
    counted = torch.tensor([0.0, 9.0]).half()
    published = torch.zeros(2).half() * (9 / (counted + 1e-8))
    assert published.isnan().tolist() == [True, False]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return UNet().eval()


@pytest.mark.parametrize("case", masks(256))
@torch.no_grad()
def test_the_net_keeps_known_pixels_and_is_finite(case, net, picture):
    image, mask = picture(256, 256), masks(256)[case]
    result = net(image, mask)
    outside = mask.expand_as(image) == 0
    assert result.isfinite().all()
    assert torch.equal(result[outside], image[outside])


@torch.no_grad()
def test_one_known_pixel_makes_everything_known_by_the_end_of_the_encoder(net, picture):
    x = picture(256, 256), 1 - masks(256)["one known"]
    for layer in net.encoder:
        x = layer(x)
    assert torch.equal(x[1], torch.ones_like(x[1]))


@torch.no_grad()
def test_the_net_is_blind_to_what_is_in_the_hole(net, picture):
    image, mask = picture(256, 256), masks(256)["to the border"]
    other = torch.where(mask == 1, torch.zeros(()), image)
    assert torch.equal(net(image, mask), net(other, mask))
