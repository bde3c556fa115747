"""Where GMCNN starts to learn: weights that already carry colours into a hole from its border.

L1 in the hole is a weak teacher of a deep net: for long it draws grey, since no colour finds its
way through sixteen layers of noise. Here some channels of each branch are initialized by hand. Each
carries the colours of the first known pixels to the left, right, top and bottom into the hole, in
steps of 1, 2, 4 ... pixels, and adds up each side's colour in each of its layers, with a quarter
of the weight in each. So a side that is known n layers later than another counts 4^n times less.
The untrained net fills the hole with these weighted means.

The layers up to the means do that alone, and do not learn: they are exact, and small steps would
shake what they divide. Those behind them learn, at half and full size; their other channels are as
drawn, but look at one place only at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls
from torch import nn

from model_defs.inpaint import GMCNN
from toolchain.training.initialization import (
    HERE,
    SHUT,
    ChannelSum,
    ChannelWriter,
    Known,
    KnownTap,
    Tap,
    first,
)

BLOCK: tuple[Tap, ...] = (HERE, (1, 1), (0, 1), (1, 0))
"""The pixels that become one at half the size."""

LEFT, RIGHT, TOP, BOTTOM = SIDES = ((0, -1), (0, 1), (-1, 0), (1, 0))

FARTHER = 4.0
"""How many times less a side counts that is a layer farther away."""

FIRST = 64.0
"""What a side counts that is known at once: in float16 the least that one counts is still exact."""

RATES = tuple(4.0**n / 512 for n in range(9))
"""Of the exponentials whose sum is a logarithm, right within 1 %; exact in float16."""

BOLD = 0.125
"""How far colours move an exponent: colours up to 1 come out as `atanh(BOLD * colour) / BOLD`."""


@dataclass(frozen=True)
class Branch:
    """Convolutions of a branch: to a quarter of the size, then those that carry inwards, two for
    the means, and those that enlarge them."""

    shrink: list[nn.Conv2d]
    carry: list[nn.Conv2d]
    mean: list[nn.Conv2d]
    enlarge: list[nn.Conv2d]

    @property
    def steps(self) -> list[int]:
        """How far each layer carries: a pixel farther than all before it, if it sees so far."""
        found: list[int] = []
        for conv in self.carry:
            found.append(min(1 + sum(found), conv.dilation[0] * (conv.kernel_size[0] // 2)))
        return found


def branches(net: GMCNN) -> list[Branch]:
    """The three, the widest view first."""
    branches = (_convolutions(branch) for branch in (net.far, net.middle, net.near))
    return [Branch(convs[:4], convs[4:10], convs[10:12], convs[12:]) for convs in branches]


def settled(net: GMCNN) -> list[nn.Conv2d]:
    """The layers up to the means, which do not learn."""
    return [conv for b in branches(net) for conv in (*b.shrink, *b.carry, *b.mean)]


@torch.no_grad()
def initialize(net: nn.Module) -> None:
    """Initializes a GMCNN (not its PyTorch port) whose weights are drawn already."""
    assert isinstance(net, GMCNN)
    assert not net.port
    for conv in _convolutions(net):
        _keep_middle(conv)
    for conv in settled(net):
        conv.weight.zero_()
    _merge(net, *map(_drawn, branches(net)))


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


def _keep_middle(conv: nn.Conv2d) -> None:
    middle = conv.weight.shape[2] // 2
    kept = conv.weight[..., middle, middle].clone()
    conv.weight.zero_()
    conv.weight[..., middle, middle] = kept


def _drawn(branch: Branch) -> Known:
    """What a branch makes of what it carries, at full size."""
    known = _mean(branch, *_carried(branch))
    for conv in branch.enlarge:
        known = first(ChannelWriter(conv), KnownTap(known))
    return known


def _merge(net: GMCNN, far: Known, middle: Known, near: Known) -> None:
    """A third of each branch; where the near one does not see the border, half of the others."""
    thirds = [[each.values[c].times(1 / 3) for each in (far, middle, near)] for c in range(3)]
    sixths = [[each.values[c].times(1 / 6) for each in (far, middle)] for c in range(3)]
    shut, nothing = near.mask.times(-SHUT), ChannelSum(())
    rows = [*thirds, *([*two, shut] for two in sixths), [nothing, nothing, near.mask]]
    layers = [ChannelWriter(merge) for merge in (net.merge_far, net.merge_middle, net.merge_near)]
    for row in rows:
        for layer, part in zip(layers, row, strict=True):
            layer.write((part, HERE))
    last = ChannelWriter(_convolutions(net.draw)[0])
    for c in range(3):
        last.write((ChannelSum(((c, 1.0), (3 + c, 1.0), (6, 1.0))), HERE), bias=-1.0)


def _shrink(branch: Branch) -> Known:
    """What is known at a quarter of the size: of each block of 4 x 4 one pixel, if there is any."""
    stem, half, between, quarter = map(ChannelWriter, branch.shrink)
    known = first(stem, KnownTap(_inputs()))
    known = first(half, *(KnownTap(known, tap) for tap in BLOCK))
    known = first(between, KnownTap(known))
    return first(quarter, *(KnownTap(known, tap) for tap in BLOCK))


def _carried(branch: Branch) -> tuple[list[Known], list[ChannelSum]]:
    """What each of the four sides knows at every pixel, and the weighted sums over them, and over
    the layers, of their colours and masks."""
    sides, sums = [_shrink(branch)] * len(SIDES), [ChannelSum(())] * 4
    for number, (conv, step) in enumerate(zip(branch.carry, branch.steps, strict=True)):
        layer = ChannelWriter(conv)
        counts = FIRST / FARTHER**number * (1 - 1 / FARTHER)
        sums = [layer.write((part, HERE)) for part in _added(sums, sides, counts)]
        sides = [_spread(layer, side, tap, step) for side, tap in zip(sides, SIDES, strict=True)]
    return sides, _added(sums, sides, FIRST / FARTHER ** len(branch.carry))


def _added(sums: Sequence[ChannelSum], sides: Sequence[Known], counts: float) -> list[ChannelSum]:
    """The sums, and what each side knows, so many times."""
    for side in sides:
        sums = [old + new.times(counts) for old, new in zip(sums, side.sums, strict=True)]
    return list(sums)


def _mean(branch: Branch, sides: Sequence[Known], sums: Sequence[ChannelSum]) -> Known:
    """Sums of colours over that of the masks. An ELU cannot divide, but it has exponentials.

    Of a sum n of masks and s of colours in -1..1, `log(n + BOLD * s) - log(n - BOLD * s)` is
    `2 * atanh(BOLD * s / n)`; both logarithms are sums of the same exponentials.
    """
    *colours, count = sums
    layer, last = map(ChannelWriter, branch.mean)
    mask = first(layer, *(KnownTap(Known((), side.mask)) for side in sides)).mask
    shares = logarithm(FIRST / FARTHER ** len(branch.carry), len(SIDES) * FIRST)
    means = []
    for colour in colours:
        centred = colour + count.times(-1)
        mean = mask
        for rate, share in zip(RATES, shares, strict=True):
            for sign in (1, -1):
                exponent = (count + centred.times(sign * BOLD)).times(-rate)
                part = layer.write((exponent, HERE))
                mean = mean + part.times(-sign * share / (2 * BOLD))
        means.append(mean)
    return first(last, KnownTap(Known(tuple(means), mask)))


def logarithm(least: float, most: float) -> np.ndarray:
    """Shares: `log(x)` is `-sum(share * exp(-rate * x))` of RATES and a constant, within least to
    most. That its slope is right, relatively, is what is solved for."""
    x, rates = np.geomspace(least, most, 600), np.asarray(RATES)
    shares, _ = nnls(rates * x[:, None] * np.exp(-rates * x[:, None]), np.ones_like(x))
    return shares


def _inputs() -> Known:
    """Of the net's five channels: colours where they are known, 1, and the hole."""
    mask = ChannelSum(((3, 1.0), (4, -1.0)))
    return Known(tuple(ChannelSum(((c, 1.0),)) + mask for c in range(3)), mask)


def _spread(layer: ChannelWriter, known: Known, tap: Tap, step: int) -> Known:
    """What is known, and a step away from a side what that knows."""
    down, right = tap
    return first(layer, KnownTap(known), KnownTap(known, (down * step, right * step)))
