"""Nets of PyTorch's own transformer modules: a ViT (Dosovitskiy et al., 2021) of
nn.TransformerEncoder, DETR (Carion et al., ECCV 2020) of nn.Transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PlainViT(nn.Module):
    """A classifier: patches, a class token, an encoder with norms first, as documentation shows."""

    def __init__(self, width: int = 64, depth: int = 12, size: int = 64, patch: int = 8) -> None:
        super().__init__()
        tokens = (size // patch) ** 2
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(0.1 * torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.1 * torch.randn(1, tokens + 1, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 4 * width, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.head = nn.Linear(width, 100)

    def forward(self, picture: Tensor) -> Tensor:
        x = self.patches(picture).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        return self.head(self.encoder(x)[:, 0])


class DETR(nn.Module):
    """{"pred_logits", "pred_boxes"} of 100 queries, of a picture (1, 3, H, W)."""

    def __init__(self, width: int = 64, classes: int = 91, depth: int = 6) -> None:
        super().__init__()
        from torchvision.models import resnet18

        net = resnet18(weights=None)
        del net.fc
        self.backbone = net
        self.conv = nn.Conv2d(512, width, 1)
        self.transformer = nn.Transformer(width, 8, depth, depth, 4 * width)
        self.classes = nn.Linear(width, classes + 1)
        self.boxes = nn.Linear(width, 4)
        self.queries = nn.Parameter(torch.rand(100, width))
        self.rows = nn.Parameter(torch.rand(50, width // 2))
        self.columns = nn.Parameter(torch.rand(50, width // 2))

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        net = self.backbone
        x = net.maxpool(net.relu(net.bn1(net.conv1(picture))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        h = self.conv(x)
        height, width = h.shape[-2:]
        columns = self.columns[:width].unsqueeze(0).repeat(height, 1, 1)
        rows = self.rows[:height].unsqueeze(1).repeat(1, width, 1)
        places = torch.cat([columns, rows], dim=-1).flatten(0, 1).unsqueeze(1)
        source = places + 0.1 * h.flatten(2).permute(2, 0, 1)
        queries = self.queries.unsqueeze(1).repeat(1, picture.shape[0], 1)
        h = self.transformer(source, queries).transpose(0, 1)
        return {"pred_logits": self.classes(h), "pred_boxes": self.boxes(h).sigmoid()}
