"""U2-Net: Qin et al., "Going Deeper with Nested U-Structure for Salient Object Detection", 2020."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(cin: int, cout: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, padding=dilation, dilation=dilation),
        nn.BatchNorm2d(cout),
        nn.ReLU(inplace=True),
    )


def like(x: Tensor, other: Tensor) -> Tensor:
    return F.interpolate(x, size=other.shape[2:], mode="bilinear", align_corners=False)


class RSU(nn.Module):
    """A U of its own in place of a block: `depth` levels, halved by pooling."""

    def __init__(self, depth: int, cin: int, mid: int, cout: int) -> None:
        super().__init__()
        self.first = conv(cin, cout)
        self.down = nn.ModuleList([conv(cout, mid), *(conv(mid, mid) for _ in range(depth - 2))])
        self.bottom = conv(mid, mid, 2)
        ups = [*(conv(2 * mid, mid) for _ in range(depth - 2)), conv(2 * mid, cout)]
        self.up = nn.ModuleList(ups)
        self.pool = nn.MaxPool2d(2, stride=2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        whole = x = self.first(x)
        kept = []
        for i, down in enumerate(self.down):
            x = down(x if i == 0 else self.pool(x))
            kept.append(x)
        x = self.bottom(x)
        for up in self.up:
            skip = kept.pop()
            x = up(torch.cat((like(x, skip), skip), 1))
        return x + whole


class DilatedRSU(nn.Module):
    """The same at one resolution: dilations in place of pooling."""

    def __init__(self, cin: int, mid: int, cout: int) -> None:
        super().__init__()
        self.first = conv(cin, cout)
        self.down = nn.ModuleList([conv(cout, mid), conv(mid, mid, 2), conv(mid, mid, 4)])
        self.bottom = conv(mid, mid, 8)
        self.up = nn.ModuleList([conv(2 * mid, mid, 4), conv(2 * mid, mid, 2), conv(2 * mid, cout)])

    def forward(self, x: Tensor) -> Tensor:
        whole = x = self.first(x)
        kept = []
        for down in self.down:
            x = down(x)
            kept.append(x)
        x = self.bottom(x)
        for up in self.up:
            x = up(torch.cat((x, kept.pop()), 1))
        return x + whole


class U2NetP(nn.Module):
    """The small version: seven maps of what is salient, the fused one first."""

    def __init__(self, width: int = 32, mid: int = 8) -> None:
        super().__init__()
        c = width
        self.encoders = nn.ModuleList(
            [
                RSU(7, 3, mid, c),
                *(RSU(depth, c, mid, c) for depth in (6, 5, 4)),
                DilatedRSU(c, mid, c),
                DilatedRSU(c, mid, c),
            ]
        )
        self.decoders = nn.ModuleList(
            [DilatedRSU(2 * c, mid, c), *(RSU(depth, 2 * c, mid, c) for depth in (4, 5, 6, 7))]
        )
        self.sides = nn.ModuleList(nn.Conv2d(c, 1, 3, padding=1) for _ in range(6))
        self.fuse = nn.Conv2d(6, 1, 1)
        self.pool = nn.MaxPool2d(2, stride=2, ceil_mode=True)

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        x, kept = picture, []
        for i, encoder in enumerate(self.encoders):
            x = encoder(x if i == 0 else self.pool(x))
            kept.append(x)
        found = [kept.pop()]
        for decoder in self.decoders:
            skip = kept.pop()
            found.append(decoder(torch.cat((like(found[-1], skip), skip), 1)))
        sides = [side(x) for side, x in zip(self.sides, found[::-1], strict=True)]
        sides = [sides[0], *(like(side, sides[0]) for side in sides[1:])]
        fused = self.fuse(torch.cat(sides, 1))
        return tuple(torch.sigmoid(x) for x in (fused, *sides))
