"""RTMPose: Jiang et al., 2023. CSPNeXt (RTMDet: Lyu et al., 2022) and SimCC's head
(Li et al., ECCV 2022) with a gated attention unit (Hua et al., 2022)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(cin: int, cout: int, size: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(cin, cout, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(cout),
        nn.SiLU(inplace=True),
    )


class NeXtBlock(nn.Module):
    def __init__(self, c: int, add: bool) -> None:
        super().__init__()
        self.first = conv(c, c, 3)
        self.second = nn.Sequential(conv(c, c, 5, groups=c), conv(c, c))
        self.add = add

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        return x + y if self.add else y


class CSPLayer(nn.Module):
    def __init__(self, c: int, count: int, add: bool) -> None:
        super().__init__()
        half = c // 2
        self.main, self.short = conv(c, half), conv(c, half)
        self.blocks = nn.Sequential(*(NeXtBlock(half, add) for _ in range(count)))
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c, 1), nn.Hardsigmoid(inplace=True)
        )
        self.last = conv(c, c)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat((self.blocks(self.main(x)), self.short(x)), dim=1)
        return self.last(x * self.attention(x))


class Pyramid(nn.Module):
    """The maximum over windows of 5, 9 and 13, each made of the last."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.first, self.last = conv(c, c // 2), conv(2 * c, c)
        self.pools = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in (5, 9, 13))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        with torch.autocast("cpu", enabled=False):
            x = torch.cat([x, *(pool(x) for pool in self.pools)], dim=1)
        return self.last(x)


class ScaleNorm(nn.Module):
    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.scale, self.eps = width**-0.5, eps
        self.g = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        norm = torch.linalg.norm(x, dim=-1, keepdim=True) * self.scale
        return x / norm.clamp(min=self.eps) * self.g


class GatedAttention(nn.Module):
    """Attention whose weights are squared rectified scores, and a gate, in one unit."""

    def __init__(self, tokens: int, width: int, keys: int = 32, expansion: int = 2) -> None:
        super().__init__()
        self.keys, self.wide = keys, expansion * width
        self.norm = ScaleNorm(width)
        self.uv = nn.Linear(width, 2 * self.wide + keys, bias=False)
        self.gamma = nn.Parameter(torch.rand(2, keys))
        self.beta = nn.Parameter(torch.rand(2, keys))
        self.out = nn.Linear(self.wide, width, bias=False)
        self.relative = nn.Parameter(torch.randn(2 * tokens - 1))
        self.res_scale = nn.Parameter(torch.ones(width))

    def bias(self, length: int) -> Tensor:
        """The (n, n) biases, one for each distance, by padding and reshaping a line of them."""
        t = F.pad(self.relative[: 2 * length - 1], [0, length]).repeat(length)
        t = t[..., :-length].reshape(-1, length, 3 * length - 2)
        r = (2 * length - 1) // 2
        return t[..., r:-r]

    def forward(self, x: Tensor) -> Tensor:
        short, x = x, self.norm(x)
        u, v, base = torch.split(F.silu(self.uv(x)), [self.wide, self.wide, self.keys], dim=2)
        base = base.unsqueeze(2) * self.gamma[None, None, :] + self.beta
        q, k = torch.unbind(base, dim=2)
        scores = torch.bmm(q, k.permute(0, 2, 1)) + self.bias(q.size(1))
        kernel = torch.square(F.relu(scores / math.sqrt(self.keys)))
        return short * self.res_scale + self.out(u * torch.bmm(kernel, v))


class RTMPose(nn.Module):
    """Where along x and along y each of 17 joints is, in half pixels, of a picture (1, 3, H, W)."""

    def __init__(self, width: int = 16, size: tuple[int, int] = (96, 64), joints: int = 17) -> None:
        super().__init__()
        c = [width, 2 * width, 4 * width, 8 * width, 16 * width]
        half = c[0] // 2
        stages = [conv(3, half, 3, 2), conv(half, half, 3), conv(half, c[0], 3)]
        for i, (count, add) in enumerate(((1, True), (2, True), (2, True), (1, False))):
            stages += [conv(c[i], c[i + 1], 3, 2)]
            stages += [Pyramid(c[i + 1])] if i == 3 else []
            stages += [CSPLayer(c[i + 1], count, add)]
        self.backbone = nn.Sequential(*stages)
        height, wide = size
        hidden = 64
        self.final = nn.Conv2d(c[4], joints, 7, 1, 3)
        self.mlp = nn.Sequential(
            ScaleNorm(height * wide // 1024), nn.Linear(height * wide // 1024, hidden, bias=False)
        )
        self.attention = GatedAttention(joints, hidden)
        self.x = nn.Linear(hidden, 2 * wide, bias=False)
        self.y = nn.Linear(hidden, 2 * height, bias=False)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        joints = torch.flatten(self.final(self.backbone(picture)), 2)
        joints = self.attention(self.mlp(joints))
        return self.x(joints), self.y(joints)
