"""SuperPoint: DeTone et al., "Self-Supervised Interest Point Detection and Description", 2018."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def suppressed(scores: Tensor, radius: int = 4) -> Tensor:
    """Scores of what is the largest around; what those hide may come up twice again."""

    def pooled(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2 * radius + 1, stride=1, padding=radius)

    zeros = torch.zeros_like(scores)
    largest = scores == pooled(scores)
    for _ in range(2):
        hidden = pooled(largest.to(scores.dtype)) > 0
        rest = torch.where(hidden, zeros, scores)
        largest = largest | ((rest == pooled(rest)) & (~hidden))
    return torch.where(largest, scores, zeros)


class SuperPoint(nn.Module):
    """Scores of corners after suppression, and descriptors at the points asked for."""

    def __init__(self, width: int = 16, descriptor: int = 64) -> None:
        super().__init__()
        c = (1, width, width, 2 * width, 2 * width)
        self.encoder = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(c[i], c[i + 1], 3, 1, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(c[i + 1], c[i + 1], 3, 1, 1),
                nn.ReLU(inplace=True),
            )
            for i in range(4)
        )
        self.pool = nn.MaxPool2d(2, 2)
        top = 2 * width
        self.points = nn.Sequential(
            nn.Conv2d(top, 4 * width, 3, 1, 1), nn.ReLU(), nn.Conv2d(4 * width, 65, 1)
        )
        self.descriptors = nn.Sequential(
            nn.Conv2d(top, 4 * width, 3, 1, 1), nn.ReLU(), nn.Conv2d(4 * width, descriptor, 1)
        )

    def forward(self, picture: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        x = picture
        for i, block in enumerate(self.encoder):
            x = block(x if i == 0 else self.pool(x))
        scores = F.softmax(self.points(x), 1)[:, :-1]  # the last is "no corner"
        b, _, h, w = scores.shape
        scores = scores.permute(0, 2, 3, 1).reshape(b, h, w, 8, 8)
        scores = scores.permute(0, 1, 3, 2, 4).reshape(b, h * 8, w * 8)
        dense = F.normalize(self.descriptors(x), p=2, dim=1)
        grid = (points * 2 - 1).view(b, 1, -1, 2)
        found = F.grid_sample(dense, grid, mode="bilinear", align_corners=True)
        found = F.normalize(found.reshape(b, dense.shape[1], -1), p=2, dim=1)
        return suppressed(scores), found
