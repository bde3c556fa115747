"""BiSeNet V2: Yu et al., "Bilateral Network with Guided Aggregation", IJCV 2021."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(cin: int, cout: int, size: int = 3, stride: int = 1, *, groups: int = 1, act: bool = True):
    layers = [
        nn.Conv2d(cin, cout, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(cout),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if act else []))


class Stem(nn.Module):
    def __init__(self, cout: int) -> None:
        super().__init__()
        self.conv = conv(3, cout, 3, 2)
        self.left = nn.Sequential(conv(cout, cout // 2, 1), conv(cout // 2, cout, 3, 2))
        self.right = nn.MaxPool2d(3, 2, 1, ceil_mode=False)
        self.fuse = conv(2 * cout, cout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.fuse(torch.cat([self.left(x), self.right(x)], dim=1))


class GatherExpansion(nn.Module):
    """A depthwise expansion by six; two of them and a shortcut of its own where it halves."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        wide = 6 * cin
        steps = [conv(cin, cin)]
        if stride == 2:
            steps += [conv(cin, wide, 3, 2, groups=cin, act=False)]
            steps += [conv(wide, wide, 3, groups=wide)]
        else:
            steps += [conv(cin, wide, 3, groups=cin)]
        self.body = nn.Sequential(*steps, conv(wide, cout, 1, act=False))
        self.shortcut = (
            nn.Sequential(
                conv(cin, cin, 3, 2, groups=cin, act=False), conv(cin, cout, 1, act=False)
            )
            if stride == 2
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class ContextEmbedding(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(c)
        self.mix = conv(c, c, 1)
        self.last = conv(c, c)

    def forward(self, x: Tensor) -> Tensor:
        whole = self.mix(self.norm(torch.mean(x, dim=(2, 3), keepdim=True)))
        return self.last(whole + x)


class Aggregation(nn.Module):
    """Each branch, gated by the other."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.detail = nn.Sequential(
            conv(c, c, 3, groups=c, act=False), nn.Conv2d(c, c, 1, bias=False)
        )
        self.detail_down = nn.Sequential(conv(c, c, 3, 2, act=False), nn.AvgPool2d(3, 2, 1))
        self.semantic_up = nn.Sequential(conv(c, c, act=False), nn.Upsample(scale_factor=4))
        self.semantic = nn.Sequential(
            conv(c, c, 3, groups=c, act=False), nn.Conv2d(c, c, 1, bias=False)
        )
        self.up = nn.Upsample(scale_factor=4)
        self.last = conv(c, c)

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        left = self.detail(detail) * torch.sigmoid(self.semantic_up(semantic))
        right = self.detail_down(detail) * torch.sigmoid(self.semantic(semantic))
        return self.last(left + self.up(right))


class BiSeNetV2(nn.Module):
    """The classes of a street: (logits,), as a tuple of one, of a picture (1, 3, H, W)."""

    def __init__(self, width: int = 32, classes: int = 19) -> None:
        super().__init__()
        c = width
        self.detail = nn.Sequential(
            *(conv(3, c, 3, 2), conv(c, c)),
            *(conv(c, c, 3, 2), conv(c, c), conv(c, c)),
            *(conv(c, 2 * c, 3, 2), conv(2 * c, 2 * c), conv(2 * c, 2 * c)),
        )
        s = c // 4
        self.semantic = nn.Sequential(
            Stem(s),
            *(GatherExpansion(s, 2 * s, 2), GatherExpansion(2 * s, 2 * s, 1)),
            *(GatherExpansion(2 * s, 4 * s, 2), GatherExpansion(4 * s, 4 * s, 1)),
            GatherExpansion(4 * s, 8 * s, 2),
            *(GatherExpansion(8 * s, 8 * s, 1) for _ in range(3)),
            ContextEmbedding(8 * s),
        )
        self.aggregate = Aggregation(2 * c)
        self.head = nn.Sequential(
            conv(2 * c, 2 * c),
            nn.Dropout(0.1),
            nn.Conv2d(2 * c, classes, 1),
            nn.Upsample(scale_factor=8, mode="bilinear", align_corners=False),
        )

    def forward(self, picture: Tensor) -> tuple[Tensor]:
        found = self.aggregate(self.detail(picture), self.semantic(picture))
        return (self.head(found),)
