"""MODNet: Ke et al., "Real-Time Trimap-Free Portrait Matting via Objective Decomposition", 2022."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class IBNorm(nn.Module):
    """Half of the channels normalised by the batch, half by the picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.half = channels // 2
        self.batch = nn.BatchNorm2d(self.half, affine=True)
        self.instance = nn.InstanceNorm2d(channels - self.half, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        by_batch = self.batch(x[:, : self.half, ...].contiguous())
        by_instance = self.instance(x[:, self.half :, ...].contiguous())
        return torch.cat((by_batch, by_instance), 1)


class Conv(nn.Module):
    def __init__(self, cin: int, cout: int, size: int, stride: int = 1, plain: bool = False):
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(cin, cout, size, stride, size // 2)]
        if not plain:
            layers += [IBNorm(cout), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // reduction, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channels // reduction, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        b, c, _, _ = x.size()
        w = self.pool(x).view(b, c)
        w = self.fc(w).view(b, c, 1, 1)
        return x * w.expand_as(x)


class Backbone(nn.Module):
    """MobileNetV2; what is seen at strides 2, 4, 8, 16 and 32."""

    CHANNELS = (16, 24, 32, 96, 1280)
    TAPS = (1, 3, 6, 13, 18)

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import mobilenet_v2

        self.features = mobilenet_v2(weights=None).features

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.TAPS:
                found.append(x)
        return found


def up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class LowResolution(nn.Module):
    """Where the person is."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        c = backbone.CHANNELS
        self.backbone = backbone
        self.se = SqueezeExcite(c[4])
        self.lr16 = Conv(c[4], c[3], 5)
        self.lr8 = Conv(c[3], c[2], 5)
        self.semantic = Conv(c[2], 1, 3, 2, plain=True)

    def forward(self, picture: Tensor, inference: bool):
        enc2, enc4, _, _, enc32 = self.backbone(picture)
        lr8 = self.lr8(up(self.lr16(up(self.se(enc32)))))
        semantic = None if inference else torch.sigmoid(self.semantic(lr8))
        return semantic, lr8, enc2, enc4


class HighResolution(nn.Module):
    """How its boundary runs."""

    def __init__(self, width: int, c: tuple[int, ...]) -> None:
        super().__init__()
        self.to2 = Conv(c[0], width, 1)
        self.enc2 = Conv(width + 3, width, 3, 2)
        self.to4 = Conv(c[1], width, 1)
        self.enc4 = Conv(2 * width, 2 * width, 3)
        self.hr4 = nn.Sequential(
            Conv(2 * width + c[2] + 3, 2 * width, 3),
            Conv(2 * width, 2 * width, 3),
            Conv(2 * width, width, 3),
        )
        self.hr2 = nn.Sequential(
            Conv(2 * width, 2 * width, 3),
            Conv(2 * width, width, 3),
            Conv(width, width, 3),
            Conv(width, width, 3),
        )
        self.detail = nn.Sequential(Conv(width + 3, width, 3), Conv(width, 1, 1, plain=True))

    def forward(self, picture: Tensor, enc2: Tensor, enc4: Tensor, lr8: Tensor, inference: bool):
        half = F.interpolate(picture, scale_factor=1 / 2, mode="bilinear", align_corners=False)
        quarter = F.interpolate(picture, scale_factor=1 / 4, mode="bilinear", align_corners=False)
        enc2 = self.to2(enc2)
        hr4 = self.enc2(torch.cat((half, enc2), dim=1))
        enc4 = self.to4(enc4)
        hr4 = self.enc4(torch.cat((hr4, enc4), dim=1))
        hr4 = self.hr4(torch.cat((hr4, up(lr8), quarter), dim=1))
        hr2 = self.hr2(torch.cat((up(hr4), enc2), dim=1))
        detail = None
        if not inference:
            detail = torch.sigmoid(self.detail(torch.cat((up(hr2), picture), dim=1)))
        return detail, hr2


class Fusion(nn.Module):
    def __init__(self, width: int, c: tuple[int, ...]) -> None:
        super().__init__()
        self.lr4 = Conv(c[2], width, 5)
        self.f2 = Conv(2 * width, width, 3)
        self.f = nn.Sequential(Conv(width + 3, width // 2, 3), Conv(width // 2, 1, 1, plain=True))

    def forward(self, picture: Tensor, lr8: Tensor, hr2: Tensor) -> Tensor:
        lr2 = up(self.lr4(up(lr8)))
        f2 = self.f2(torch.cat((lr2, hr2), dim=1))
        return torch.sigmoid(self.f(torch.cat((up(f2), picture), dim=1)))


class MODNet(nn.Module):
    """(None, None, matte): what is trained with only is left out, as its authors' forward does."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        backbone = Backbone()
        self.low = LowResolution(backbone)
        self.high = HighResolution(width, backbone.CHANNELS)
        self.fusion = Fusion(width, backbone.CHANNELS)

    def forward(self, picture: Tensor, inference: bool = True):
        semantic, lr8, enc2, enc4 = self.low(picture, inference)
        detail, hr2 = self.high(picture, enc2, enc4, lr8, inference)
        return semantic, detail, self.fusion(picture, lr8, hr2)
