"""LaMa: Suvorov et al., "Resolution-robust Large Mask Inpainting", WACV 2022."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FourierUnit(nn.Module):
    """A pointwise convolution of the spectrum: each output sees the whole picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(2 * channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        spectrum = torch.fft.rfftn(x, dim=(-2, -1), norm="ortho")
        pair = torch.stack((spectrum.real, spectrum.imag), dim=-1)
        pair = pair.permute(0, 1, 4, 2, 3).contiguous()
        pair = pair.view((batch, -1, *pair.size()[3:]))
        pair = self.act(self.norm(self.conv(pair)))
        pair = pair.view((batch, -1, 2, *pair.size()[2:])).permute(0, 1, 3, 4, 2).contiguous()
        spectrum = torch.complex(pair[..., 0], pair[..., 1])
        return torch.fft.irfftn(spectrum, s=(height, width), dim=(-2, -1), norm="ortho")


class SpectralTransform(nn.Module):
    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        half = cout // 2
        self.first = nn.Sequential(
            nn.Conv2d(cin, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(inplace=True)
        )
        self.unit = FourierUnit(half)
        self.last = nn.Conv2d(half, cout, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x + self.unit(x))


class FFC(nn.Module):
    """A convolution between a local and a global half; normalised and rectified."""

    def __init__(self, channels: int, ratio: float) -> None:
        super().__init__()
        wide = int(channels * ratio)
        near = channels - wide
        options = {"kernel_size": 3, "padding": 1, "padding_mode": "reflect", "bias": False}
        self.near_near = nn.Conv2d(near, near, **options)
        self.near_wide = nn.Conv2d(near, wide, **options)
        self.wide_near = nn.Conv2d(wide, near, **options)
        self.wide_wide = SpectralTransform(wide, wide)
        self.norm_near = nn.BatchNorm2d(near)
        self.norm_wide = nn.BatchNorm2d(wide)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        near, wide = x
        out_near = self.near_near(near) + self.wide_near(wide)
        out_wide = self.near_wide(near) + self.wide_wide(wide)
        return self.act(self.norm_near(out_near)), self.act(self.norm_wide(out_wide))


class Block(nn.Module):
    def __init__(self, channels: int, ratio: float) -> None:
        super().__init__()
        self.first, self.second = FFC(channels, ratio), FFC(channels, ratio)

    def forward(self, x: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        near, wide = self.second(self.first(x))
        return x[0] + near, x[1] + wide


class LaMa(nn.Module):
    """A picture whose hole is filled, of a picture with a hole and its mask (1, 4, H, W)."""

    def __init__(self, width: int = 16, blocks: int = 9, ratio: float = 0.75) -> None:
        super().__init__()
        stem: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(4, width, 7), *after(width)]
        for step in range(3):
            wide = width * 2**step
            stem += [nn.Conv2d(wide, 2 * wide, 3, 2, 1), *after(2 * wide)]
        self.stem = nn.Sequential(*stem)
        top = 8 * width
        self.wide = int(top * ratio)
        self.blocks = nn.ModuleList(Block(top, ratio) for _ in range(blocks))
        head: list[nn.Module] = []
        for step in range(3):
            wide = top // 2**step
            head += [nn.ConvTranspose2d(wide, wide // 2, 3, 2, 1, 1), *after(wide // 2)]
        head += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Sigmoid()]
        self.head = nn.Sequential(*head)

    def forward(self, masked: Tensor) -> Tensor:
        x = self.stem(masked)
        pair = (x[:, : -self.wide], x[:, -self.wide :])
        for block in self.blocks:
            pair = block(pair)
        return self.head(torch.cat(pair, dim=1))


def after(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.ReLU(True)
