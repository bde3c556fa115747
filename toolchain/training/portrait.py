"""Portrait segmentation as PortraitNet was trained (Zhang 2019), on scenes made by rule."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_defs.pixels import label_tensor, to_tensor
from model_defs.portrait import PORTRAIT as SPEC
from model_defs.portrait import PORTRAIT_VIDEO as VIDEO_SPEC
from model_defs.portrait import SIZE, PortraitNet, PortraitVideo, portrait_spec
from model_defs.spec import Resize, TensorSpec
from toolchain.data import scenery
from toolchain.data.task import Item, Task
from toolchain.training import losses
from toolchain.training.augment import cut, mirrored, photographed, relit, textured

PORTRAITS = 0.85
"""The share of portraits; in some of the others nobody is."""

SHAPES = ((1.0, 1.0), (1.0, 0.75), (0.75, 1.0))
"""Height and width of pictures, as shares of the net's input."""

EDGES, CONSISTENCY = 0.1, 2.0


def example(inputs: tuple[TensorSpec, ...], number: int, *, replaced: float = 0.5) -> Item:
    """A picture in two lights and its mask (1, H, W), for the net's input.

    `replaced` is the probability that a photograph's texture takes the room's place.
    """
    random = np.random.default_rng((number, 1))
    _, _, side, _ = inputs[0].shape
    height, width = (round(side * part) for part in SHAPES[random.integers(len(SHAPES))])
    kind: scenery.Kind = "portrait" if random.random() < PORTRAITS else "still"
    view = mirrored(cut(scenery.view(kind, number), height, width, random), random)
    picture = photographed(textured(view, random, replaced=replaced), random)
    changes = relit(picture, random), relit(picture, random)
    shown = [to_tensor(changed, inputs[0])[0][0] for changed in changes]
    mask = label_tensor(view.people, inputs[0])
    return torch.from_numpy(shown[0]), torch.from_numpy(shown[1]), torch.from_numpy(mask)


def video_example(inputs: tuple[TensorSpec, ...], number: int) -> Item:
    """Two lights, the mask of a frame before (1, H, W), and this frame's mask.

    The frame before had the person elsewhere and larger or smaller; for three of ten there is
    none.
    """
    image, changed, mask = example(inputs, number)
    random = np.random.default_rng((number, 4))
    if random.random() < 0.3:
        return image, changed, torch.zeros_like(mask), mask
    scale, shift = random.normal(1, 0.06), random.normal(0, 0.08, 2)
    place_of = torch.tensor([[[scale, 0, shift[0]], [0, scale, shift[1]]]], dtype=torch.float32)
    grid = F.affine_grid(place_of, [1, *mask.shape], align_corners=False)
    before = F.grid_sample(mask[None], grid, align_corners=False)[0]
    return image, changed, before, mask


class PortraitLearner(nn.Module):
    """Cross-entropy of masks, focal loss of their edges, and consistency under light.

    The edges come from a head of their own on the last features, which is not shipped.
    """

    def __init__(
        self, net: nn.Module, edges: float = EDGES, consistency: float = CONSISTENCY
    ) -> None:
        super().__init__()
        assert isinstance(net, (PortraitNet, PortraitVideo))
        self.net, self.weights = net, (edges, consistency)
        self.edges = nn.Conv2d(_still(net).score.in_channels, 1, 3, padding=1, bias=False)

    def forward(self, image: Tensor, changed: Tensor, *others: Tensor) -> Tensor:
        *previous, mask = others
        both = torch.cat([torch.cat((picture, *previous), 1) for picture in (image, changed)])
        net = _still(self.net)
        features = net.features(both)
        background, person = net.score(features).float().chunk(2, 1)
        original, other = (person - background).chunk(2)
        edge = self.edges(features).float().chunk(2)[0]
        loss = F.binary_cross_entropy_with_logits(original, mask)
        loss = loss + F.binary_cross_entropy_with_logits(other, mask)
        of_edges, of_consistency = self.weights
        loss = loss + of_edges * losses.focal(edge, losses.edges(mask))
        return loss + of_consistency * losses.consistency(original, other)


def _still(net: PortraitNet | PortraitVideo) -> PortraitNet:
    """The net for one picture that a video's net is made of."""
    return net.net if isinstance(net, PortraitVideo) else net


@torch.no_grad()
def overlap(net: nn.Module, batch: Item) -> float:
    """Mean IoU over person and background, as EG1800 counts it, over the pictures of a batch."""
    image, _, *previous, mask = batch
    return mean_iou(net(image, *previous), mask)


def mean_iou(found: Tensor, mask: Tensor) -> float:
    """Of probabilities and masks (N, 1, H, W), over both classes and the pictures."""
    found, truth = found > 0.5, mask > 0.5
    ious = []
    for a, b in ((found, truth), (~found, ~truth)):
        both, either = (a & b).sum((1, 2, 3)), (a | b).sum((1, 2, 3))
        ious.append(torch.where(either > 0, both / either.clamp(min=1), 1.0))
    return float(torch.stack(ious).mean())


def portrait_task(
    size: int = SIZE,
    width: float = 1.0,
    depth: float = 1.0,
    resize: Resize = "letterbox",
    edges: float = EDGES,
    consistency: float = CONSISTENCY,
    replaced: float = 0.5,
) -> Task:
    """The task with other arguments: of the net, of its input, of the loss, of the examples."""
    return Task(
        portrait_spec(size, width, depth, resize),
        partial(example, replaced=replaced),
        partial(PortraitLearner, edges=edges, consistency=consistency),
        "mean IoU",
        overlap,
    )


PORTRAIT = Task(SPEC, example, PortraitLearner, "mean IoU", overlap)
PORTRAIT_VIDEO = Task(VIDEO_SPEC, video_example, PortraitLearner, "mean IoU", overlap)

Learner = PortraitLearner
"""Its name in files of users written before it had one of its own."""
