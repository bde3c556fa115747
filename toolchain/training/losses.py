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
