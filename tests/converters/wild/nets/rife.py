"""RIFE: Huang et al., "Real-Time Intermediate Flow Estimation", ECCV 2022."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GRIDS: dict[tuple[str, str], Tensor] = {}
"""The coordinates of each size that was asked for, kept between calls."""


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """The picture, each pixel taken from where the flow points."""
    key = (str(flow.dtype), str(flow.size()))
    if key not in GRIDS:
        b, _, h, w = flow.shape
        xs = torch.linspace(-1.0, 1.0, w, dtype=flow.dtype).view(1, 1, 1, w).expand(b, -1, h, -1)
        ys = torch.linspace(-1.0, 1.0, h, dtype=flow.dtype).view(1, 1, h, 1).expand(b, -1, -1, w)
        GRIDS[key] = torch.cat([xs, ys], 1)
    scaled = torch.cat(
        [
            flow[:, 0:1] / ((picture.shape[3] - 1.0) / 2.0),
            flow[:, 1:2] / ((picture.shape[2] - 1.0) / 2.0),
        ],
        1,
    )
    grid = (GRIDS[key] + scaled).permute(0, 2, 3, 1)
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=True)


def conv(cin: int, cout: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1), nn.PReLU(cout))


def deconv(cin: int, cout: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(cin, cout, 4, 2, 1), nn.PReLU(cout))


class FlowBlock(nn.Module):
    def __init__(self, cin: int, c: int) -> None:
        super().__init__()
        self.down = nn.Sequential(conv(cin, c // 2, 2), conv(c // 2, c, 2))
        self.body = nn.Sequential(*(conv(c, c) for _ in range(8)))
        self.last = nn.ConvTranspose2d(c, 5, 4, 2, 1)

    def forward(self, x: Tensor, flow: Tensor | None, scale: int) -> tuple[Tensor, Tensor]:
        if scale != 1:
            x = F.interpolate(x, scale_factor=1.0 / scale, mode="bilinear", align_corners=False)
        if flow is not None:
            small = F.interpolate(
                flow, scale_factor=1.0 / scale, mode="bilinear", align_corners=False
            )
            x = torch.cat((x, small * 1.0 / scale), 1)
        x = self.down(x)
        found = self.last(self.body(x) + x)
        found = F.interpolate(found, scale_factor=scale * 2, mode="bilinear", align_corners=False)
        return found[:, :4] * scale * 2, found[:, 4:5]


class Context(nn.Module):
    """Features of a picture at four scales, warped along the flow."""

    def __init__(self, c: int) -> None:
        super().__init__()
        widths = (3, c, 2 * c, 4 * c, 8 * c)
        self.steps = nn.ModuleList(
            nn.Sequential(conv(a, b, 2), conv(b, b)) for a, b in pairwise(widths)
        )

    def forward(self, x: Tensor, flow: Tensor) -> list[Tensor]:
        found = []
        for step in self.steps:
            x = step(x)
            flow = F.interpolate(flow, scale_factor=0.5, mode="bilinear", align_corners=False) * 0.5
            found.append(warp(x, flow))
        return found


class Refinement(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.down0 = nn.Sequential(conv(17, 2 * c, 2), conv(2 * c, 2 * c))
        self.down1 = nn.Sequential(conv(4 * c, 4 * c, 2), conv(4 * c, 4 * c))
        self.down2 = nn.Sequential(conv(8 * c, 8 * c, 2), conv(8 * c, 8 * c))
        self.down3 = nn.Sequential(conv(16 * c, 16 * c, 2), conv(16 * c, 16 * c))
        self.up0, self.up1 = deconv(32 * c, 8 * c), deconv(16 * c, 4 * c)
        self.up2, self.up3 = deconv(8 * c, 2 * c), deconv(4 * c, c)
        self.last = nn.Conv2d(c, 3, 3, 1, 1)

    def forward(self, pictures: Tensor, c0: list[Tensor], c1: list[Tensor]) -> Tensor:
        s0 = self.down0(pictures)
        s1 = self.down1(torch.cat((s0, c0[0], c1[0]), 1))
        s2 = self.down2(torch.cat((s1, c0[1], c1[1]), 1))
        s3 = self.down3(torch.cat((s2, c0[2], c1[2]), 1))
        x = self.up0(torch.cat((s3, c0[3], c1[3]), 1))
        x = self.up1(torch.cat((x, s2), 1))
        x = self.up2(torch.cat((x, s1), 1))
        x = self.up3(torch.cat((x, s0), 1))
        return torch.sigmoid(self.last(x))


class RIFE(nn.Module):
    """The frame between two, and the flow towards both, found from coarse to fine."""

    def __init__(self, width: int = 16, context: int = 4) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            (FlowBlock(6, 2 * width), FlowBlock(13 + 4, width), FlowBlock(13 + 4, width))
        )
        self.context = Context(context)
        self.refine = Refinement(context)

    def forward(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        flow = mask = None
        w0, w1 = before, after
        for block, scale in zip(self.blocks, (4, 2, 1), strict=True):
            if flow is None:
                flow, mask = block(torch.cat((before, after), 1), None, scale)
            else:
                seen = torch.cat((before, after, w0, w1, mask), 1)
                change, mask_change = block(seen, flow, scale)
                flow, mask = flow + change, mask + mask_change
            w0, w1 = warp(before, flow[:, :2]), warp(after, flow[:, 2:4])
        share = torch.sigmoid(mask)
        c0, c1 = self.context(before, flow[:, :2]), self.context(after, flow[:, 2:4])
        seen = torch.cat((before, after, w0, w1, mask, flow), 1)
        residual = self.refine(seen, c0, c1) * 2 - 1
        return torch.clamp(w0 * share + w1 * (1 - share) + residual, 0, 1), flow
