"""Inpainting by reconstruction (the first stage of Wang 2018), on scenes made by rule."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from model_defs.inpaint import GMCNN, HEIGHT, WIDTH
from model_defs.inpaint import INPAINT_LITE as SPEC
from model_defs.pixels import to_tensor
from model_defs.procedures.arrays import Mask
from model_defs.scenes import labels
from model_defs.spec import TensorSpec
from toolchain.data import scenery
from toolchain.data.task import Item, Task
from toolchain.training import inpaint_initialization, losses
from toolchain.training.augment import cut, mirrored, relit, textured

WHOLE = HEIGHT, WIDTH

NEAREST = 0.35
"""The least share of a scene that a window shows, about twice enlarged."""

LEAST, MOST = 0.05, 0.6
"""The share of a window that a hole takes."""


def example(inputs: tuple[TensorSpec, ...], number: int) -> Item:
    """A window of a picture, and the part (1, H, W) of a hole that lies in it.

    Whatever the size of the window, holes are as large as in whole pictures: the net sees as
    many pixels far in training as it does later.
    """
    random = np.random.default_rng((number, 7))
    _, _, height, width = inputs[0].shape
    kind: scenery.Kind = "portrait" if random.random() < 0.5 else "still"
    view = scenery.view(kind, number)
    view = mirrored(cut(view, height, width, random, least=NEAREST), random)
    picture = relit(textured(view, random, replaced=0.5), random)
    mask = hole(random, height, width)[None].astype(np.float32)
    return torch.from_numpy(to_tensor(picture, inputs[0])[0][0]), torch.from_numpy(mask)


def hole(random: np.random.Generator, height: int, width: int) -> Mask:
    """What a window of a whole picture shows of strokes, or of a rectangle of an eighth to a
    quarter of its sides, each half of the time."""
    while True:
        whole = _rectangle(random) if random.random() < 0.5 else labels.strokes(random, *WHOLE)
        top, left = (
            int(random.integers(full - part + 1))
            for full, part in zip(WHOLE, (height, width), strict=True)
        )
        window = whole[top : top + height, left : left + width]
        if LEAST < window.mean() < MOST:
            return window


def _rectangle(random: np.random.Generator) -> Mask:
    mask = np.zeros(WHOLE, bool)
    rows, columns = WHOLE[0] // 2, WHOLE[1] // 2
    top, left = (int(random.integers(side + 1)) for side in (rows, columns))
    mask[top : top + rows, left : left + columns] = labels.rectangle(random, rows, columns)
    return mask


class InpaintLearner(nn.Module):
    """L1 in the hole, more where the pixels around it tell more (Wang 2018, equation 8).

    The layers that the initialization settles stay as they are; those behind them learn.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        assert isinstance(net, GMCNN)
        self.net = net
        for conv in inpaint_initialization.settled(net):
            conv.requires_grad_(False)

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


INPAINT_LITE = Task(
    SPEC,
    example,
    InpaintLearner,
    "PSNR in the hole",
    decibels,
    multiple=4,
    initialize=inpaint_initialization.initialize,
)
