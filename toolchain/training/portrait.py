"""Portrait segmentation as PortraitNet was trained (Zhang 2019), on scenes made by rule."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from model_defs.pixels import place, to_tensor
from model_defs.portrait import PORTRAIT as SPEC
from model_defs.portrait import PortraitNet
from model_defs.procedures.arrays import Pixels
from model_defs.scenes.sampling import sample
from model_defs.spec import ModelSpec
from toolchain.training import losses
from toolchain.training.augment import mirrored, photographed, relit
from toolchain.training.task import Item, Task

PORTRAITS = 0.85
"""The share of portraits; in some of the others nobody is."""

SHAPES = ((1.0, 1.0), (1.0, 0.75), (0.75, 1.0))
"""Height and width of pictures, as shares of the net's input."""

EDGES, CONSISTENCY = 0.1, 2.0


class Portraits(Dataset[Item]):
    """A picture, the same picture in other light, and its mask (1, H, W), for the net's input."""

    def __init__(self, spec: ModelSpec, first: int, count: int) -> None:
        self.spec, self.first, self.count = spec, first, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Item:
        number = self.first + index
        random = np.random.default_rng((number, 1))
        _, _, side, _ = self.spec.inputs[0].shape
        height, width = (round(side * part) for part in SHAPES[random.integers(len(SHAPES))])
        view = mirrored(sample(number, height, width, portraits=PORTRAITS).view, random)
        picture = photographed(view.picture, random)
        image, changed = (self._tensor(p) for p in (picture, relit(picture, random)))
        return image, changed, self._mask(view.people)

    def _tensor(self, picture: Pixels) -> Tensor:
        return torch.from_numpy(to_tensor(picture, self.spec.inputs[0])[0][0])

    def _mask(self, people: np.ndarray) -> Tensor:
        """Where the picture lies in the input, its mask; 0 beside it."""
        _, _, height, width = self.spec.inputs[0].shape
        rule = self.spec.inputs[0].preprocess
        assert rule is not None
        where = place(people.shape[1], people.shape[0], width, height, rule)
        left, top, right, bottom = where.target
        plane = np.zeros((1, height, width), np.float32)
        image = Image.fromarray(people).resize((right - left, bottom - top))
        plane[0, top:bottom, left:right] = np.asarray(image)
        return torch.from_numpy(plane)


class Learner(nn.Module):
    """Cross-entropy of masks, focal loss of their edges, and consistency under light.

    The edges come from a head of their own on the last features, which is not shipped.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        assert isinstance(net, PortraitNet)
        self.net = net
        self.edges = nn.Conv2d(net.score.in_channels, 1, 3, padding=1, bias=False)

    def forward(self, image: Tensor, changed: Tensor, mask: Tensor) -> Tensor:
        features = self.net.features(torch.cat((image, changed)))
        background, person = self.net.score(features).chunk(2, 1)
        original, other = (person - background).chunk(2)
        edge = self.edges(features).chunk(2)[0]
        loss = F.binary_cross_entropy_with_logits(original, mask)
        loss = loss + F.binary_cross_entropy_with_logits(other, mask)
        loss = loss + EDGES * losses.focal(edge, losses.edges(mask))
        return loss + CONSISTENCY * losses.consistency(original, other)


@torch.no_grad()
def overlap(net: nn.Module, batch: Item) -> float:
    """Mean IoU over person and background, as EG1800 counts it, over the pictures of a batch."""
    image, _, mask = batch
    found, truth = net(image) > 0.5, mask > 0.5
    ious = []
    for a, b in ((found, truth), (~found, ~truth)):
        both, either = (a & b).sum((1, 2, 3)), (a | b).sum((1, 2, 3))
        ious.append(torch.where(either > 0, both / either.clamp(min=1), 1.0))
    return float(torch.stack(ious).mean())


PORTRAIT = Task(SPEC, Portraits, Learner, "mean IoU", overlap)
