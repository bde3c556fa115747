"""What people look at (SAM's losses, Cornia 2018), on scenes made by rule."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from model_defs import saliency as nets
from model_defs.pixels import to_tensor
from model_defs.saliency import SALIENCY as SPEC
from model_defs.scenes import labels
from model_defs.spec import TensorSpec
from toolchain.data import scenery
from toolchain.data.task import Item, Task
from toolchain.parity.metrics import fixations
from toolchain.training import losses
from toolchain.training.augment import cut, mirrored, photographed, relit, textured

LOOKS = 60
"""Fixations that are drawn from a map, with repetition."""


def example(inputs: tuple[TensorSpec, ...], number: int) -> Item:
    """A picture, its map (1, 2H, 2W) of sum 1, and fixations drawn from it, counted."""
    random = np.random.default_rng((number, 6))
    _, _, height, width = inputs[0].shape
    kind: scenery.Kind = "portrait" if random.random() < 0.5 else "still"
    down = 0.3 if kind == "portrait" else 1.0  # most photographs show whole heads
    whole = scenery.view(kind, number)
    view = mirrored(cut(whole, height, width, random, least=0.8, down=down), random)
    looks = labels.saliency(view).repeat(2, 0).repeat(2, 1)
    density = looks / looks.sum(dtype=np.float64)
    counts = fixations(density, LOOKS, random)
    picture = relit(photographed(textured(view, random), random), random)
    image = to_tensor(picture, inputs[0])[0][0]
    maps = [torch.from_numpy(plane[None].astype(np.float32)) for plane in (density, counts)]
    return torch.from_numpy(image), *maps


class SaliencyLearner(nn.Module):
    """10 KL - 2 CC - NSS, as published, none of which knows a map's scale: its peak is led to 1."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        assert isinstance(net, nets.Saliency)
        self.net = net

    def forward(self, image: Tensor, density: Tensor, fixations: Tensor) -> Tensor:
        found = self.net(image).float() + losses.TINY
        loss = 10 * losses.divergence(found, density) - 2 * losses.correlation(found, density)
        peaks = found.amax((1, 2, 3))
        return loss - losses.scanpath(found, fixations) + (peaks - 1).square().mean()


@torch.no_grad()
def agreement(net: nn.Module, batch: Item) -> float:
    """The mean of the maps' correlation, over the pictures of a batch."""
    image, density, _ = batch
    found = torch.cat([net(one[None]) for one in image])
    return float(losses.correlation(found, density))


SALIENCY = Task(SPEC, example, SaliencyLearner, "CC", agreement, build=nets.build, multiple=8)
