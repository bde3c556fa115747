"""RVM: Lin et al., "Robust High-Resolution Video Matting with Temporal Guidance", WACV 2022."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = {1: 16, 3: 24, 6: 40, 16: 960}
"""The layers of MobileNetV3-Large that the decoder sees, and their channels."""


class Encoder(nn.Module):
    """MobileNetV3-Large with a dilated last stage, on a picture normalised as for ImageNet."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import mobilenet_v3_large

        self.features = mobilenet_v3_large(weights=None, dilated=True).features

    def forward(self, x: Tensor) -> list[Tensor]:
        from torchvision.transforms.functional import normalize

        x = normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        found = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in TAPS:
                found.append(x)
        return found


class LRASPP(nn.Module):
    """Features, each channel weighed by what the whole picture says."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.local = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)
        )
        self.whole = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, width, 1, bias=False), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.local(x) * self.whole(x)


class ConvGRU(nn.Module):
    """A gated recurrent unit whose products are convolutions of 3 x 3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.gates = nn.Sequential(nn.Conv2d(2 * channels, 2 * channels, 3, 1, 1), nn.Sigmoid())
        self.candidate = nn.Sequential(nn.Conv2d(2 * channels, channels, 3, 1, 1), nn.Tanh())

    def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
        if h is None:
            h = torch.zeros_like(x)
        r, z = self.gates(torch.cat([x, h], dim=1)).split(self.channels, dim=1)
        c = self.candidate(torch.cat([x, r * h], dim=1))
        return (1 - z) * h + z * c


class Remembering(nn.Module):
    """The recurrence sees half of the channels only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gru = ConvGRU(channels // 2)

    def forward(self, x: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        a, b = x.chunk(2, dim=1)
        h = self.gru(b, h)
        return torch.cat([a, h], dim=1), h


class Upsampling(nn.Module):
    def __init__(self, channels: int, skip: int, out: int, last: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels + skip + 3, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(True),
        )
        self.memory = None if last else Remembering(out)
        self.more = (
            nn.Sequential(
                nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(True)
            )
            if last
            else None
        )

    def forward(self, x: Tensor, skip: Tensor | None, picture: Tensor, h: Tensor | None):
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = x[:, :, : picture.size(2), : picture.size(3)]
        x = self.conv(torch.cat([x, picture] if skip is None else [x, skip, picture], dim=1))
        if self.memory is None:
            return self.more(x)
        return self.memory(x, h)


class GuidedFilter(nn.Module):
    """What was found at a low resolution, sharpened along the full picture's edges."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.box = nn.Conv2d(4, 4, 3, 1, 1, bias=False, groups=4)
        self.conv = nn.Sequential(
            nn.Conv2d(8 + width, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.Conv2d(width, 4, 1),
        )
        self.box.weight.data[...] = 1 / 9

    def forward(self, fine: Tensor, base: Tensor, colours: Tensor, alpha: Tensor, hidden: Tensor):
        fine = torch.cat([fine, fine.mean(1, keepdim=True)], dim=1)
        base = torch.cat([base, base.mean(1, keepdim=True)], dim=1)
        found = torch.cat([colours, alpha], dim=1)
        mean, mean_found = self.box(base), self.box(found)
        covariance = self.box(base * found) - mean * mean_found
        variance = self.box(base * base) - mean * mean
        a = self.conv(torch.cat([covariance, variance, hidden], dim=1))
        b = mean_found - a * mean
        height, width = fine.shape[2:]
        a = F.interpolate(a, (height, width), mode="bilinear", align_corners=False)
        b = F.interpolate(b, (height, width), mode="bilinear", align_corners=False)
        return (a * fine + b).split([3, 1], dim=1)


class RVM(nn.Module):
    """Foreground, alpha and four states, of a frame and the states of the last one."""

    def __init__(self, ratio: float = 0.5) -> None:
        super().__init__()
        self.ratio = ratio
        self.encoder = Encoder()
        self.aspp = LRASPP(960, 64)
        self.memory4 = Remembering(64)
        self.up3 = Upsampling(64, 40, 40)
        self.up2 = Upsampling(40, 24, 32)
        self.up1 = Upsampling(32, 16, 16)
        self.up0 = Upsampling(16, 0, 16, last=True)
        self.pool = nn.AvgPool2d(2, 2, count_include_pad=False, ceil_mode=True)
        self.mat = nn.Conv2d(16, 4, 1)
        self.refine = GuidedFilter(16)

    def forward(self, src: Tensor, r1: Tensor, r2: Tensor, r3: Tensor, r4: Tensor):
        small = F.interpolate(
            src,
            scale_factor=self.ratio,
            mode="bilinear",
            align_corners=False,
            recompute_scale_factor=False,
        )
        f1, f2, f3, f4 = self.encoder(small)
        s1 = self.pool(small)
        s2 = self.pool(s1)
        s3 = self.pool(s2)
        x, r4 = self.memory4(self.aspp(f4), r4)
        x, r3 = self.up3(x, f3, s3, r3)
        x, r2 = self.up2(x, f2, s2, r2)
        x, r1 = self.up1(x, f1, s1, r1)
        hidden = self.up0(x, None, small, None)
        colours, alpha = self.mat(hidden).split([3, 1], dim=1)
        colours, alpha = self.refine(src, small, colours, alpha, hidden)
        return [(colours + src).clamp(0, 1), alpha.clamp(0, 1), r1, r2, r3, r4]
