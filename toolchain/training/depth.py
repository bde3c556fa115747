"""Relative depth (FastDepth's net), on scenes made by rule whose depth is known."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_defs.depth import DEPTH as SPEC
from model_defs.depth import Depth
from model_defs.pixels import to_tensor
from model_defs.spec import TensorSpec
from toolchain.data import scenery
from toolchain.data.task import Item, Task
from toolchain.training import losses
from toolchain.training.augment import cut, mirrored, photographed, relit, textured

DARKEST = 1e-3
"""The least inverse depth whose logarithm is taken."""


def example(inputs: tuple[TensorSpec, ...], number: int) -> Item:
    """A picture for the net's input, and its inverse depth (1, H, W), 1 where it is nearest."""
    random = np.random.default_rng((number, 2))
    _, _, height, width = inputs[0].shape
    kind: scenery.Kind = "portrait" if random.random() < 0.5 else "still"
    view = mirrored(cut(scenery.view(kind, number), height, width, random), random)
    picture = relit(photographed(textured(view, random), random), random)
    image = to_tensor(picture, inputs[0])[0][0]
    nearness = view.depth.min() / view.depth
    return torch.from_numpy(image), torch.from_numpy(nearness[None])


class DepthLearner(nn.Module):
    """The scale-invariant error of log depth, and that of its slopes (Eigen 2015)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        assert isinstance(net, Depth)
        self.net = net

    def forward(self, image: Tensor, nearness: Tensor) -> Tensor:
        logits = self.net.head.logits(*self.net.trunk(image)).float()
        difference = F.logsigmoid(logits) - nearness.log()
        return losses.scale_invariant(difference) + losses.slopes(difference)


@torch.no_grad()
def delta1(net: nn.Module, batch: Item) -> float:
    """The share of pixels within a factor of 1.25, each picture scaled by its median."""
    image, nearness = batch
    ratio = (net(image).clamp(min=DARKEST) / nearness).flatten(1)
    ratio = ratio / ratio.median(1, keepdim=True).values
    return float((torch.maximum(ratio, 1 / ratio) < 1.25).float().mean())


DEPTH = Task(SPEC, example, DepthLearner, "delta1 after median scaling", delta1)
