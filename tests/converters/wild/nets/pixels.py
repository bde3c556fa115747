"""Pictures to pictures: Real-ESRGAN's compact net, fast style transfer, a denoiser of diffusion."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SRVGGNetCompact(nn.Module):
    """Wang et al., "Real-ESRGAN", 2021: its small net, which works at the low resolution only."""

    def __init__(self, width: int = 24, convs: int = 16, upscale: int = 4) -> None:
        super().__init__()
        self.upscale = upscale
        self.body = nn.ModuleList([nn.Conv2d(3, width, 3, 1, 1), nn.PReLU(width)])
        for _ in range(convs):
            self.body.append(nn.Conv2d(width, width, 3, 1, 1))
            self.body.append(nn.PReLU(num_parameters=width))
        self.body.append(nn.Conv2d(width, 3 * upscale * upscale, 3, 1, 1))
        self.shuffle = nn.PixelShuffle(upscale)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for layer in self.body:
            out = layer(out)
        out = self.shuffle(out)
        out += F.interpolate(x, scale_factor=self.upscale, mode="nearest")
        return out


def padded(cin: int, cout: int, size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.ReflectionPad2d(size // 2), nn.Conv2d(cin, cout, size, stride))


class StyleBlock(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            padded(c, c, 3),
            nn.InstanceNorm2d(c, affine=True),
            nn.ReLU(),
            padded(c, c, 3),
            nn.InstanceNorm2d(c, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + x


class StyleNet(nn.Module):
    """Johnson et al., "Perceptual Losses for Real-Time Style Transfer", ECCV 2016."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        c = width
        layers: list[nn.Module] = []
        for cin, cout, size, stride in ((3, c, 9, 1), (c, 2 * c, 3, 2), (2 * c, 4 * c, 3, 2)):
            norm = nn.InstanceNorm2d(cout, affine=True)
            layers += [padded(cin, cout, size, stride), norm, nn.ReLU()]
        layers += [StyleBlock(4 * c) for _ in range(5)]
        for cin, cout in ((4 * c, 2 * c), (2 * c, c)):
            norm = nn.InstanceNorm2d(cout, affine=True)
            layers += [
                nn.UpsamplingNearest2d(scale_factor=2),
                padded(cin, cout, 3),
                norm,
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers, padded(c, 3, 9))

    def forward(self, picture: Tensor) -> Tensor:
        return self.layers(picture)


def time_embedding(t: Tensor, width: int) -> Tensor:
    half = width // 2
    steps = torch.arange(half, dtype=t.dtype, device=t.device)
    angles = t[:, None] * torch.exp(-math.log(10000) * steps / half)[None]
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


class ResidualBlock(nn.Module):
    def __init__(self, cin: int, cout: int, time: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, cin), nn.GroupNorm(8, cout)
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)
        self.time = nn.Linear(time, 2 * cout)
        self.skip = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.time(F.silu(t))[:, :, None, None].chunk(2, dim=1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.dropout(F.silu(h), 0.1, self.training))


class AttentionBlock(nn.Module):
    def __init__(self, c: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, c)
        self.qkv = nn.Conv1d(c, 3 * c, 1)
        self.out = nn.Conv1d(c, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        qkv = self.qkv(self.norm(x).reshape(b, c, h * w))
        q, k, v = qkv.reshape(b * self.heads, 3 * c // self.heads, h * w).chunk(3, dim=1)
        scale = 1 / math.sqrt(math.sqrt(c // self.heads))
        share = torch.softmax(torch.einsum("bct,bcs->bts", q * scale, k * scale), dim=-1)
        found = torch.einsum("bts,bcs->bct", share, v).reshape(b, c, h * w)
        return x + self.out(found).reshape(b, c, h, w)


class DiffusionUNet(nn.Module):
    """Dhariwal and Nichol, "Diffusion Models Beat GANs", 2021: noise, of a picture and a time."""

    def __init__(
        self, width: int = 16, steps: tuple[int, ...] = (1, 2, 2), blocks: int = 2
    ) -> None:
        super().__init__()
        time = 4 * width
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, time), nn.SiLU(), nn.Linear(time, time))
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.down, kept, c = nn.ModuleList(), [width], width
        for level, factor in enumerate(steps):
            for _ in range(blocks):
                parts = [ResidualBlock(c, factor * width, time)]
                c = factor * width
                parts += [AttentionBlock(c)] if level > 0 else []
                self.down.append(nn.ModuleList(parts))
                kept.append(c)
            if level < len(steps) - 1:
                self.down.append(nn.ModuleList([nn.Conv2d(c, c, 3, 2, 1)]))
                kept.append(c)
        self.middle = nn.ModuleList(
            [ResidualBlock(c, c, time), AttentionBlock(c), ResidualBlock(c, c, time)]
        )
        self.up = nn.ModuleList()
        for level, factor in reversed(list(enumerate(steps))):
            for i in range(blocks + 1):
                parts = [ResidualBlock(c + kept.pop(), factor * width, time)]
                c = factor * width
                parts += [AttentionBlock(c)] if level > 0 else []
                if level and i == blocks:
                    parts.append(nn.Upsample(scale_factor=2, mode="nearest"))
                    parts.append(nn.Conv2d(c, c, 3, padding=1))
                self.up.append(nn.ModuleList(parts))
        self.last = nn.Sequential(nn.GroupNorm(8, c), nn.SiLU(), nn.Conv2d(c, 3, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        t = self.time(time_embedding(t, self.width))
        x = self.first(x)
        kept = [x]
        for parts in self.down:
            x = self.through(parts, x, t)
            kept.append(x)
        x = self.through(self.middle, x, t)
        for parts in self.up:
            x = self.through(parts, torch.cat([x, kept.pop()], dim=1), t)
        return self.last(x)

    @staticmethod
    def through(parts: nn.ModuleList, x: Tensor, t: Tensor) -> Tensor:
        for part in parts:
            x = part(x, t) if isinstance(part, ResidualBlock) else part(x)
        return x
