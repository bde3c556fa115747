"""Losses of the papers, each on tensors (N, 1, H, W) of any device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Binary cross-entropy in which pixels that are already right count little (Lin 2017).

    `mean((1 - p_t)^gamma * -log(p_t))`, p_t being the probability of the true class.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return ((1 - torch.exp(-entropy)) ** gamma * entropy).mean()


def jaccard(logits: Tensor, target: Tensor) -> Tensor:
    """1 - IoU of masks whose pixels are probabilities, the mean over the pictures (Rahman 2016).

    Unlike a mean over pixels it is as hard on a small object as on a large one.
    """
    found, truth = logits.sigmoid().flatten(1), target.flatten(1)
    both = (found * truth).sum(1)
    either = found.sum(1) + truth.sum(1) - both
    return (1 - both / either.clamp(min=TINY)).mean()


def consistency(logits: Tensor, changed: Tensor) -> Tensor:
    """KL(p || q) of the masks of a picture and of the same picture in other light.

    Zhang 2019, equation 2, at temperature 1: p teaches q, hence has no gradient.
    """
    p = logits.detach().sigmoid()
    cross = F.binary_cross_entropy_with_logits(changed, p)
    own = F.binary_cross_entropy_with_logits(logits.detach(), p)
    return cross - own


def edges(mask: Tensor, width: int = 3) -> Tensor:
    """1 within `width` // 2 pixels of a border of a binary mask, both sides of it."""
    pad = width // 2
    widest = F.max_pool2d(mask, width, stride=1, padding=pad)
    return widest + F.max_pool2d(-mask, width, stride=1, padding=pad)


def scale_invariant(difference: Tensor, share: float = 0.5) -> Tensor:
    """Of differences d in log depth: `mean(d^2) - share * mean(d)^2` a picture (Eigen 2014).

    With share 1 it is the variance, blind to scale; with 0 the mean square.
    """
    mean = difference.mean((1, 2, 3))
    return ((difference**2).mean((1, 2, 3)) - share * mean**2).mean()


def slopes(difference: Tensor) -> Tensor:
    """The mean square of a difference's change from pixel to pixel (Eigen 2015, equation 1)."""
    across, down = difference.diff(dim=3), difference.diff(dim=2)
    return (across**2).mean() + (down**2).mean()


def divergence(found: Tensor, truth: Tensor) -> Tensor:
    """KL of saliency maps (N, 1, H, W) as distributions, truth against found (Cornia 2018)."""
    p, q = _distribution(truth), _distribution(found)
    return (p * torch.log(TINY + p / (q + TINY))).sum(1).mean()


def correlation(found: Tensor, truth: Tensor) -> Tensor:
    """Pearson's coefficient of maps (N, 1, H, W), the mean over the pictures (CC)."""
    a, b = _centred(found), _centred(truth)
    scale = (a.square().sum(1) * b.square().sum(1)).clamp(min=TINY).sqrt()
    return ((a * b).sum(1) / scale).mean()


def scanpath(found: Tensor, fixations: Tensor) -> Tensor:
    """The mean of standardised maps where people looked: NSS; `fixations` count the looks."""
    values = _centred(found)
    values = values / values.square().mean(1, keepdim=True).clamp(min=TINY).sqrt()
    looks = fixations.flatten(1)
    return ((values * looks).sum(1) / looks.sum(1).clamp(min=1)).mean()


TINY = 1e-7


def _distribution(maps: Tensor) -> Tensor:
    flat = maps.flatten(1)
    return flat / flat.sum(1, keepdim=True).clamp(min=TINY)


def _centred(maps: Tensor) -> Tensor:
    flat = maps.flatten(1)
    return flat - flat.mean(1, keepdim=True)


def confidence(hole: Tensor, kernel: int, rounds: int = 7) -> Tensor:
    """How sure a hole's (N, 1, H, W) pixels can be: less with the distance to what is known.

    Wang 2018, equation 7: what is known spreads inwards by a blur, round by round. The
    published Gaussian is flat over its 65 pixels of 512; hence a box here. 0 outside.
    """
    sure = 1 - hole
    known, pad = sure, kernel // 2
    for _ in range(rounds):
        spread = F.avg_pool2d(sure, kernel, stride=1, padding=pad, count_include_pad=False) * hole
        sure = spread + known
    return sure * hole
