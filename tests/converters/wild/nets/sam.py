"""SAM's prompts and mask decoder: Kirillov et al., "Segment Anything", ICCV 2023."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        var = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(var + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class FourierPositions(nn.Module):
    """Sines and cosines of random projections of a point in 0..1."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("gaussian", torch.randn((2, features)))

    def encode(self, points: Tensor) -> Tensor:
        points = (2 * points - 1) @ self.gaussian
        points = 2 * math.pi * points
        return torch.cat([torch.sin(points), torch.cos(points)], dim=-1)

    def forward(self, height: int, width: int) -> Tensor:
        grid = torch.ones((height, width), dtype=self.gaussian.dtype)
        y = (grid.cumsum(dim=0) - 0.5) / height
        x = (grid.cumsum(dim=1) - 0.5) / width
        return self.encode(torch.stack([x, y], dim=-1)).permute(2, 0, 1)


class Prompts(nn.Module):
    """Points as tokens: what a label says is assigned where a mask of booleans is true."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.positions = FourierPositions(width // 2)
        self.kinds = nn.ModuleList(nn.Embedding(1, width) for _ in range(2))
        self.nothing = nn.Embedding(1, width)

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        points = points + 0.5
        coordinates = points.clone()
        coordinates[:, :, 0] = coordinates[:, :, 0] / self.size
        coordinates[:, :, 1] = coordinates[:, :, 1] / self.size
        found = self.positions.encode(coordinates)
        found[labels == -1] = 0.0
        found[labels == -1] += self.nothing.weight
        found[labels == 0] += self.kinds[0].weight
        found[labels == 1] += self.kinds[1].weight
        return found


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, downsample: int = 1) -> None:
        super().__init__()
        inner = width // downsample
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(width, inner) for _ in range(3))
        self.out = nn.Linear(inner, width)

    def split(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        return x.reshape(b, n, self.heads, c // self.heads).transpose(1, 2)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = self.split(self.q(q)), self.split(self.k(k)), self.split(self.v(v))
        share = q @ k.permute(0, 1, 3, 2) / math.sqrt(q.shape[-1])
        x = (torch.softmax(share, dim=-1) @ v).transpose(1, 2)
        return self.out(x.reshape(x.shape[0], x.shape[1], -1))


class TwoWayBlock(nn.Module):
    def __init__(self, width: int, heads: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.own = Attention(width, heads)
        self.to_image = Attention(width, heads, 2)
        self.to_tokens = Attention(width, heads, 2)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )

    def forward(self, q: Tensor, k: Tensor, q_place: Tensor, k_place: Tensor):
        if self.first:
            q = self.own(q, q, q)
        else:
            placed = q + q_place
            q = q + self.own(placed, placed, q)
        q = self.norms[0](q)
        q = self.norms[1](q + self.to_image(q + q_place, k + k_place, k))
        q = self.norms[2](q + self.mlp(q))
        return q, self.norms[3](k + self.to_tokens(k + k_place, q + q_place, q))


class MLP(nn.Module):
    def __init__(self, cin: int, hidden: int, cout: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            (nn.Linear(cin, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, cout))
        )

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = torch.relu(layer(x)) if i < 2 else layer(x)
        return x


class SAMDecoder(nn.Module):
    """Masks and their quality, of an embedded picture and of points with labels 1, 0 or -1."""

    def __init__(self, width: int = 64, heads: int = 8, masks: int = 4, size: int = 256) -> None:
        super().__init__()
        self.prompts = Prompts(width, size)
        self.no_mask = nn.Embedding(1, width)
        self.quality_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(masks, width)
        self.masks = masks
        self.blocks = nn.ModuleList(TwoWayBlock(width, heads, i == 0) for i in range(2))
        self.final = Attention(width, heads, 2)
        self.norm = nn.LayerNorm(width)
        self.upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, 2),
            ChannelNorm(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, 2),
            nn.GELU(),
        )
        self.hyper = nn.ModuleList(MLP(width, width, width // 8) for _ in range(masks))
        self.quality = MLP(width, width, masks)

    def forward(self, embedding: Tensor, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        sparse = self.prompts(points, labels)
        own = torch.cat([self.quality_token.weight, self.mask_tokens.weight], dim=0)
        own = own.unsqueeze(0).expand(sparse.size(0), -1, -1)
        tokens = torch.cat((own, sparse), dim=1)
        b, c, h, w = embedding.shape
        place = self.prompts.positions(h, w).unsqueeze(0)
        dense = self.no_mask.weight.reshape(1, -1, 1, 1).expand(b, -1, h, w)
        k = torch.repeat_interleave(embedding, tokens.shape[0], dim=0) + dense
        k, k_place = k.flatten(2).permute(0, 2, 1), place.flatten(2).permute(0, 2, 1)
        q = tokens
        for block in self.blocks:
            q, k = block(q, k, tokens, k_place)
        q = self.norm(q + self.final(q + tokens, k + k_place, k))
        upscaled = self.upscaling(k.transpose(1, 2).view(b, c, h, w))
        weights = torch.stack([self.hyper[i](q[:, 1 + i]) for i in range(self.masks)], dim=1)
        b, c, h, w = upscaled.shape
        found = (weights @ upscaled.view(b, c, h * w)).view(b, -1, h, w)
        return found[:, 1:], self.quality(q[:, 0])[:, 1:]
