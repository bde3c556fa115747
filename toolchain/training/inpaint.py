"""Inpainting by reconstruction (the first stage of Wang 2018), on scenes made by rule."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from model_defs.inpaint import GMCNN
from model_defs.inpaint import INPAINT_LITE as SPEC
from model_defs.pixels import to_tensor
from model_defs.scenes import labels
from model_defs.spec import TensorSpec
from toolchain.training import losses, scenery
from toolchain.training.augment import cut, mirrored, relit, textured
from toolchain.training.task import Item, Task


def example(inputs: tuple[TensorSpec, ...], number: int) -> Item:
    """A whole picture, and a hole (1, H, W) to be drawn in it."""
    random = np.random.default_rng((number, 7))
    _, _, height, width = inputs[0].shape
    kind: scenery.Kind = "portrait" if random.random() < 0.5 else "still"
    view = mirrored(cut(scenery.view(kind, number), height, width, random), random)
    picture = relit(textured(view, random, replaced=0.5), random)
    hole = labels.hole(random, height, width)[None].astype(np.float32)
    return torch.from_numpy(to_tensor(picture, inputs[0])[0][0]), torch.from_numpy(hole)


class Learner(nn.Module):
    """L1 in the hole, more where the pixels around it tell more (Wang 2018, equation 8)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        assert isinstance(net, GMCNN)
        self.net = net

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        sure = losses.confidence(hole, image.shape[2] // 8 | 1)
        error = (self.net(image, hole).float() - image).abs().mean(1, keepdim=True)
        return (error * sure).sum() / sure.sum() + (error * hole).sum() / hole.sum()


@torch.no_grad()
def decibels(net: nn.Module, batch: Item) -> float:
    """PSNR in the hole, in dB, the mean over the pictures of a batch."""
    image, hole = batch
    squared = ((net(image, hole) - image) ** 2 * hole).sum((1, 2, 3)) / (3 * hole.sum((1, 2, 3)))
    return float((10 * torch.log10(4 / squared.clamp(min=1e-8))).mean())


INPAINT_LITE = Task(SPEC, example, Learner, "PSNR in the hole", decibels, multiple=4)
