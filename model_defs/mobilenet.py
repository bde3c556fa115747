"""MobileNetV1 without its classifier (Howard 2017, table 1): a trunk for several heads."""

from __future__ import annotations

from torch import Tensor, nn

from model_defs.blocks import conv_bn, separable

# Layer 0 is a 3x3 convolution 3 -> 32 of stride 2; (outputs, stride) of the separable ones:
LAYERS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *(((512, 1),) * 5),
    *((1024, 2), (1024, 1)),
)


class MobileNetV1(nn.Module):
    """(N, 3, H, W) -> the outputs of the layers named in `taps`, each followed by ReLU6.

    `dilations` maps a layer of stride 2 to the dilation that replaces its stride, for it and
    for the layers after it.
    """

    def __init__(self, taps: tuple[int, ...], dilations: dict[int, int] | None = None) -> None:
        super().__init__()
        self.taps = taps
        layers = [conv_bn(3, 32, stride=2, activation=nn.ReLU6())]
        channels, dilation = 32, 1
        for index, (outputs, stride) in enumerate(LAYERS, start=1):
            if dilations and index in dilations:
                stride, dilation = 1, dilations[index]
            layers.append(
                separable(channels, outputs, stride=stride, dilation=dilation, activation=nn.ReLU6)
            )
            channels = outputs
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        taps = []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self.taps:
                taps.append(x)
        return tuple(taps)
