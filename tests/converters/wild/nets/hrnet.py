"""HRNet: Wang et al., "Deep High-Resolution Representation Learning", TPAMI 2020."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(cin: int, cout: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(cin, cout, size, stride, size // 2, bias=False), nn.BatchNorm2d(cout)]


class Basic(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*conv(c, c, 3), nn.ReLU(inplace=True), *conv(c, c, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + x)


class Bottleneck(nn.Module):
    def __init__(self, cin: int, c: int) -> None:
        super().__init__()
        relu = nn.ReLU(inplace=True)
        self.body = nn.Sequential(*conv(cin, c, 1), relu, *conv(c, c, 3), relu, *conv(c, 4 * c, 1))
        self.shortcut = nn.Sequential(*conv(cin, 4 * c, 1)) if cin != 4 * c else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class Exchange(nn.Module):
    """Each resolution is the sum of all, brought to its size."""

    def __init__(self, widths: list[int], blocks: int = 4) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(Basic(c) for _ in range(blocks))) for c in widths
        )
        self.fuse = nn.ModuleList(
            nn.ModuleList(self.between(widths, i, j) for j in range(len(widths)))
            for i in range(len(widths))
        )

    @staticmethod
    def between(widths: list[int], to: int, of: int) -> nn.Module:
        if of > to:
            up = nn.Upsample(scale_factor=2 ** (of - to), mode="nearest")
            return nn.Sequential(*conv(widths[of], widths[to], 1), up)
        steps: list[nn.Module] = []
        for k in range(to - of):
            last = k == to - of - 1
            steps += conv(widths[of], widths[to] if last else widths[of], 3, 2)
            steps += [] if last else [nn.ReLU(inplace=True)]
        return nn.Sequential(*steps)

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        xs = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
        return [F.relu(sum(f(x) for f, x in zip(row, xs, strict=True))) for row in self.fuse]


class HRNet(nn.Module):
    """Heat maps of 17 joints at a quarter of the size, and scores at all four resolutions."""

    def __init__(self, width: int = 8, modules: tuple[int, ...] = (1, 4, 3)) -> None:
        super().__init__()
        relu = nn.ReLU(inplace=True)
        self.stem = nn.Sequential(*conv(3, 64, 3, 2), relu, *conv(64, 64, 3, 2), relu)
        self.layer1 = nn.Sequential(Bottleneck(64, 16), *(Bottleneck(64, 16) for _ in range(3)))
        widths = [width * 2**i for i in range(4)]
        self.transitions, self.stages = nn.ModuleList(), nn.ModuleList()
        before = [64]
        for stage, count in enumerate(modules):
            now = widths[: stage + 2]
            steps: list[nn.Module] = []
            for i, c in enumerate(now):
                if i < len(before):
                    same = before[i] == c
                    steps.append(
                        nn.Identity() if same else nn.Sequential(*conv(before[i], c, 3), relu)
                    )
                else:
                    steps.append(nn.Sequential(*conv(before[-1], c, 3, 2), relu))
            self.transitions.append(nn.ModuleList(steps))
            self.stages.append(nn.ModuleList(Exchange(now) for _ in range(count)))
            before = now
        self.heads = nn.Conv2d(sum(widths), 17, 1)

    def forward(self, picture: Tensor) -> Tensor:
        xs = [self.layer1(self.stem(picture))]
        for transition, stage in zip(self.transitions, self.stages, strict=True):
            steps = enumerate(transition)
            xs = [step(xs[i]) if i < len(xs) else step(xs[-1]) for i, step in steps]
            for exchange in stage:
                xs = exchange(xs)
        size = xs[0].shape[2:]
        wide = [xs[0]]
        for x in xs[1:]:
            wide.append(F.interpolate(x, size=size, mode="bilinear", align_corners=True))
        return self.heads(torch.cat(wide, dim=1))
