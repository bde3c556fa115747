"""Interactive selection (Xu 2016), on scenes made by rule: an object, and clicks for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_defs.pixels import to_tensor
from model_defs.procedures.arrays import Mask
from model_defs.procedures.clicks import Clicks, Sampling, click_maps, next_click
from model_defs.scenes import labels
from model_defs.scenes.render import View
from model_defs.select import SELECT as SPEC
from model_defs.select import SELECT_COARSE as COARSE_SPEC
from model_defs.select import SIZE, Select, SelectCoarse
from model_defs.spec import TensorSpec
from toolchain.data import scenery
from toolchain.data.task import Item, Task
from toolchain.training import losses
from toolchain.training.augment import cut, mirrored, photographed, relit, textured

CORRECTIONS = 6
"""The most clicks that answer the net's own mistakes, in one step of training."""

WHOLE = 0.25
"""What the mask as a whole counts, beside its pixels."""


def example(inputs: tuple[TensorSpec, ...], number: int) -> Item:
    """A picture, maps of clicks (2, H, W) and the mask of what was clicked (1, H, W)."""
    random = np.random.default_rng((number, 3))
    _, _, height, width = inputs[0].shape
    view, mask, clicks = _asked(number, height, width, random)
    picture = relit(photographed(textured(view, random), random), random)
    image = to_tensor(picture, inputs[0])[0][0]
    maps, target = click_maps(clicks, (height, width)), mask[None].astype(np.float32)
    return torch.from_numpy(image), torch.from_numpy(maps), torch.from_numpy(target)


def _asked(
    number: int, height: int, width: int, random: np.random.Generator
) -> tuple[View, Mask, Clicks]:
    """A view in which there is something to click; the next scene's where there is not.

    Half of the time the clicks are Xu's, else the one that a user gives first: in the middle.
    """
    while True:
        kind: scenery.Kind = "portrait" if random.random() < 0.5 else "still"
        view = mirrored(cut(scenery.view(kind, number), height, width, random), random)
        found = labels.clicks(view, random, _sampling(height))
        if found is not None and found[1].positives:
            target, clicks = found
            return view, target, clicks if random.random() < 0.5 else _first(target)
        number += 1


def _first(target: Mask) -> Clicks:
    step = next_click(np.zeros_like(target), target)
    assert step is not None
    return Clicks((step[0],))


def _sampling(height: int) -> Sampling:
    """Distances for pictures of this height, as they are at full size."""
    usual, scale = Sampling(), height / SIZE
    return replace(
        usual, margin=usual.margin * scale, step=usual.step * scale, band=usual.band * scale
    )


class SelectLearner(nn.Module):
    """The logistic loss of each pixel, after up to CORRECTIONS clicks on what is still wrong, and
    a share of the soft IoU's.

    A net that is only ever shown clicks drawn at random does not learn to obey one that
    corrects it (Mahadevan 2018, Iteratively Trained Interactive Segmentation).
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        assert isinstance(net, (Select, SelectCoarse))
        self.net = net

    def forward(self, image: Tensor, clicks: Tensor, mask: Tensor) -> Tensor:
        for _ in range(int(torch.randint(CORRECTIONS + 1, ()))):
            with torch.no_grad():
                clicks = corrected(clicks, self.net(image, clicks) > 0.5, mask > 0.5)
        logits = self.net.logits(image, clicks).float()
        whole = losses.jaccard(logits, mask)
        return F.binary_cross_entropy_with_logits(logits, mask) + WHOLE * whole


def corrected(clicks: Tensor, found: Tensor, wanted: Tensor) -> Tensor:
    """The click maps (N, 2, H, W) after a click of the robot on the largest mistake of each mask.

    `found` and `wanted` are bool, (N, 1, H, W).
    """
    maps, (height, width) = clicks.clone(), clicks.shape[2:]
    for number in range(len(maps)):
        predicted, target = (mask[number, 0].cpu().numpy() for mask in (found, wanted))
        step = next_click(predicted, target)
        if step is not None:
            point, positive = step
            one = Clicks((point,)) if positive else Clicks((), (point,))
            near = torch.from_numpy(click_maps(one, (height, width))).to(maps)
            maps[number] = torch.minimum(maps[number], near)
    return maps


@torch.no_grad()
def overlap(net: nn.Module, batch: Item) -> float:
    """Mean IoU of the selected object, over the pictures of a batch."""
    image, clicks, mask = batch
    found, truth = net(image, clicks) > 0.5, mask > 0.5
    both, either = (found & truth).sum((1, 2, 3)), (found | truth).sum((1, 2, 3))
    return float((both / either.clamp(min=1)).mean())


SELECT = Task(SPEC, example, SelectLearner, "IoU", overlap)
SELECT_COARSE = Task(COARSE_SPEC, example, SelectLearner, "IoU", overlap)
