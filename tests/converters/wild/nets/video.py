"""ConvGRU: Ballas et al., "Delving Deeper into Convolutional Networks for Learning Video
Representations", ICLR 2016: a stack of them between an encoder and a decoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Cell(nn.Module):
    def __init__(self, cin: int, hidden: int, size: int = 3) -> None:
        super().__init__()
        pad = size // 2
        self.reset = nn.Conv2d(cin + hidden, hidden, size, padding=pad)
        self.update = nn.Conv2d(cin + hidden, hidden, size, padding=pad)
        self.out = nn.Conv2d(cin + hidden, hidden, size, padding=pad)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        both = torch.cat([x, h], dim=1)
        update = torch.sigmoid(self.update(both))
        reset = torch.sigmoid(self.reset(both))
        new = torch.tanh(self.out(torch.cat([x, h * reset], dim=1)))
        return h * (1 - update) + new * update


class ConvGRUNet(nn.Module):
    """The next frame, of one frame and two states; the states for the next call."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1),
            nn.GroupNorm(4, width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, width, 3, 2, 1),
            nn.GroupNorm(4, width),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.first, self.second = Cell(width, width), Cell(width, 2 * width)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.ConvTranspose2d(width, 3, 4, 2, 1),
        )

    def forward(self, frame: Tensor, first: Tensor, second: Tensor):
        first = self.first(self.encoder(frame), first)
        down = F.avg_pool2d(first, 2)
        second = self.second(down, second)
        up = F.interpolate(second, scale_factor=2, mode="bilinear", align_corners=True)
        return torch.sigmoid(self.decoder(up) + frame), {"first_next": first, "second_next": second}
