"""NAFNet: Chen et al., "Simple Baselines for Image Restoration", ECCV 2022."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(torch.autograd.Function):
    """A layer normalisation over channels with a gradient of its own, as people write them."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        ctx.eps = eps
        mean = x.mean(1, keepdim=True)
        var = (x - mean).pow(2).mean(1, keepdim=True)
        y = (x - mean) / (var + eps).sqrt()
        ctx.save_for_backward(y, var, weight)
        return weight.view(1, -1, 1, 1) * y + bias.view(1, -1, 1, 1)

    @staticmethod
    def backward(ctx, grad: Tensor):
        y, var, weight = ctx.saved_tensors
        g = grad * weight.view(1, -1, 1, 1)
        mean_gy = (g * y).mean(1, keepdim=True)
        dx = (g - y * mean_gy - g.mean(1, keepdim=True)) / torch.sqrt(var + ctx.eps)
        return dx, (grad * y).sum((0, 2, 3)), grad.sum((0, 2, 3)), None


class LayerNorm2d(nn.Module):
    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return ChannelNorm.apply(x, self.weight, self.bias, self.eps)


class SimpleGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return a * b


class Block(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = LayerNorm2d(c), LayerNorm2d(c)
        self.expand = nn.Conv2d(c, 2 * c, 1)
        self.depthwise = nn.Conv2d(2 * c, 2 * c, 3, padding=1, groups=2 * c)
        self.project = nn.Conv2d(c, c, 1)
        self.attention = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c, 1))
        self.gate = SimpleGate()
        self.mix = nn.Conv2d(c, 2 * c, 1)
        self.out = nn.Conv2d(c, c, 1)
        self.drop = nn.Identity()
        self.beta = nn.Parameter(torch.full((1, c, 1, 1), 0.5))
        self.gamma = nn.Parameter(torch.full((1, c, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.gate(self.depthwise(self.expand(self.norm1(x))))
        y = self.project(y * self.attention(y))
        x = x + self.drop(y) * self.beta
        y = self.out(self.gate(self.mix(self.norm2(x))))
        return x + self.drop(y) * self.gamma


class NAFNet(nn.Module):
    """A restored picture, of any size: it is padded to a multiple of 16 and cut again."""

    def __init__(self, width: int = 8, encoder=(1, 1, 1, 28), middle=1, decoder=(1, 1, 1, 1)):
        super().__init__()
        self.intro = nn.Conv2d(3, width, 3, padding=1)
        self.ending = nn.Conv2d(width, 3, 3, padding=1)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        self.decoders, self.ups = nn.ModuleList(), nn.ModuleList()
        c = width
        for count in encoder:
            self.encoders.append(nn.Sequential(*(Block(c) for _ in range(count))))
            self.downs.append(nn.Conv2d(c, 2 * c, 2, 2))
            c *= 2
        self.middle = nn.Sequential(*(Block(c) for _ in range(middle)))
        for count in decoder:
            up = nn.Sequential(nn.Conv2d(c, 2 * c, 1, bias=False), nn.PixelShuffle(2))
            self.ups.append(up)
            c //= 2
            self.decoders.append(nn.Sequential(*(Block(c) for _ in range(count))))
        self.multiple = 2 ** len(encoder)

    def forward(self, picture: Tensor) -> Tensor:
        _, _, height, width = picture.shape
        more = ((-width) % self.multiple, (-height) % self.multiple)
        padded = F.pad(picture, (0, more[0], 0, more[1]))
        x, kept = self.intro(padded), []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            kept.append(x)
            x = down(x)
        x = self.middle(x)
        for decoder, up, skip in zip(self.decoders, self.ups, kept[::-1], strict=True):
            x = decoder(up(x) + skip)
        return (self.ending(x) + padded)[:, :, :height, :width]
