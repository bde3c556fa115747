"""The portrait head on the depth trunk, which stays as it is: Hydra's heads share it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.weights import load_weights
from model_defs.depth import DEPTH_TRUNK, Decoder
from model_defs.mobilenet import MobileNetV1
from model_defs.pixels import to_tensor
from model_defs.portrait import PORTRAIT_HEAD as SPEC
from model_defs.spec import TensorSpec
from toolchain.data import scenery
from toolchain.data.task import Item, Task
from toolchain.training.augment import cut, mirrored, photographed, relit, textured
from toolchain.training.portrait import PORTRAITS, mean_iou


def example(inputs: tuple[TensorSpec, ...], number: int) -> Item:
    """A picture for the trunk's input, and its mask (1, H, W)."""
    random = np.random.default_rng((number, 5))
    _, _, height, width = inputs[0].shape
    kind: scenery.Kind = "portrait" if random.random() < PORTRAITS else "still"
    view = mirrored(cut(scenery.view(kind, number), height, width, random), random)
    picture = relit(photographed(textured(view, random, replaced=0.5), random), random)
    image, mask = to_tensor(picture, inputs[0])[0][0], view.people[None].astype(np.float32)
    return torch.from_numpy(image), torch.from_numpy(mask)


class OnTrunk(nn.Module):
    """A picture (N, 3, H, W) -> the person's probability (N, 1, H, W); only the head learns."""

    def __init__(self, trunk: MobileNetV1, head: Decoder) -> None:
        super().__init__()
        self.trunk = trunk.requires_grad_(False)
        self.head = head

    def train(self, mode: bool = True) -> OnTrunk:
        super().train(mode)
        self.trunk.eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        return self.logits(image).sigmoid()

    def logits(self, image: Tensor) -> Tensor:
        """What training sees: (N, 1, H, W) without bounds."""
        with torch.no_grad():
            features = self.trunk(image)
        return self.head.logits(*features)


def build(height: int, width: int) -> OnTrunk:
    """The shipped depth trunk, and a head that has learned nothing."""
    trunk = DEPTH_TRUNK.build()
    assert isinstance(trunk, MobileNetV1)
    if DEPTH_TRUNK.weights is not None:
        load_weights(trunk, DEPTH_TRUNK.weights, DEPTH_TRUNK.part)
    return OnTrunk(trunk, Decoder())


class PixelwiseLearner(nn.Module):
    """The logistic loss of each pixel."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        assert isinstance(net, OnTrunk)
        self.net = net

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.net.logits(image).float(), mask)


@torch.no_grad()
def overlap(net: nn.Module, batch: Item) -> float:
    """Mean IoU over person and background, over the pictures of a batch."""
    image, mask = batch
    return mean_iou(net(image), mask)


PORTRAIT_HEAD = Task(
    SPEC,
    example,
    PixelwiseLearner,
    "mean IoU",
    overlap,
    inputs=DEPTH_TRUNK.inputs,
    build=build,
    part="head",
)
