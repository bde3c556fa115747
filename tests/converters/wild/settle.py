"""Random weights that hide nothing: no scale is 1, no shift 0, no statistic that of a new layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
TINY = 0.05
"""A vector whose largest number is below this hides its layer: a layer scale of 1e-5, a zero."""


def settled(net: nn.Module, examples: Sequence[tuple[Tensor, ...]]) -> nn.Module:
    """The same net with its vectors drawn anew and its batch statistics those of the examples.

    Statistics are moved away from those a little, as training leaves them.
    """
    net.eval()
    _draw_vectors(net)
    norms = [part for part in net.modules() if isinstance(part, BATCH_NORMS)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for example in examples if norms else ():
            net(*_batch(example))
        for norm in norms:
            norm.running_mean += 0.1 * norm.running_var.sqrt() * torch.randn_like(norm.bias)
            norm.running_var *= torch.empty_like(norm.bias).uniform_(0.8, 1.25)
            norm.running_var.clamp_(min=1e-3)
    return net.eval()


def _draw_vectors(net: nn.Module) -> None:
    """Scales of 0.7 to 1.3 and small shifts where a new net holds ones, zeros or near to them."""
    for parameter in net.parameters():
        flat = parameter.data
        if flat.numel() == 0 or not flat.is_floating_point():
            continue
        if bool((flat == 1).all()):
            flat.uniform_(0.7, 1.3)
        elif flat.squeeze().ndim > 1 and not flat.any():  # a head that begins at zero
            flat.normal_(0, flat[0].numel() ** -0.5)
        elif float(flat.abs().max()) < TINY and flat.squeeze().ndim <= 1:
            is_constant = bool((flat == flat.flatten()[0]).all()) and bool(flat.any())
            # A constant that is not zero is a layer scale, which is drawn as one.
            flat.uniform_(0.5, 1.0) if is_constant else flat.normal_(0, 0.1)


def _batch(example: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Two of each, so that the statistics of a layer that sees 1 x 1 are there."""
    return tuple(torch.cat([one, one.flip(-1)]) for one in example)
