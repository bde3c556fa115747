"""Where GMCNN starts to learn: weights that already carry colours into a hole from its border.

L1 in the hole is a weak teacher of a deep net: for long it draws grey, since no colour finds its
way through sixteen layers of noise. Here some channels of each branch are wired by hand. The
untrained net fills the hole with the mean of two rules: in the branch with the widest view, of
the first known pixels to the left, right, top and bottom; in the others, of pixels as near as
any, looked for in steps of 1, 2, 4 ... and in two orders of the sides each.

The layers that carry do that alone, and do not learn: they are exact, and each hands on what the
one before it gets wrong. Those that mix what arrives learn; their other channels are as drawn,
but look at one place only at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from model_defs.inpaint import GMCNN
from toolchain.training.wires import HERE, SHUT, Known, Layer, Seen, Tap, Wire, first

BLOCK: tuple[Tap, ...] = (HERE, (1, 1), (0, 1), (1, 0))
"""The pixels that become one at half the size."""

LEFT, RIGHT, TOP, BOTTOM = SIDES = ((0, -1), (0, 1), (-1, 0), (1, 0))

OPPOSITE, ACROSS = (1, 0, 3, 2), (2, 3, 0, 1)
"""Of each of SIDES, the index of another that stands in where it knows nothing."""

ORDERS = (
    ((LEFT, RIGHT, TOP, BOTTOM), (BOTTOM, TOP, RIGHT, LEFT)),
    ((RIGHT, LEFT, BOTTOM, TOP), (TOP, BOTTOM, LEFT, RIGHT)),
)
"""In which the middle and the near branch look around: over all, each side is first once."""


@dataclass(frozen=True)
class Branch:
    """Convolutions of a branch: to a quarter of the size, then those that carry inwards, then
    those that mix."""

    shrink: list[nn.Conv2d]
    carry: list[nn.Conv2d]
    mix: list[nn.Conv2d]

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
    return [Branch(convs[:4], convs[4:10], convs[10:]) for convs in branches]


def carriers(net: GMCNN) -> list[nn.Conv2d]:
    """The layers that carry colours into the hole."""
    return [conv for branch in branches(net) for conv in (*branch.shrink, *branch.carry)]


@torch.no_grad()
def wire(net: nn.Module) -> None:
    """Wires a GMCNN (not its PyTorch port) whose weights are drawn already."""
    assert isinstance(net, GMCNN)
    assert not net.port
    for conv in _convolutions(net):
        _keep_middle(conv)
    for conv in carriers(net):
        conv.weight.zero_()
    far, middle, near = branches(net)
    _merge(
        net,
        _enlarge(far, _from_sides(far)),
        _enlarge(middle, _from_nearest(middle, ORDERS[0])),
        _enlarge(near, _from_nearest(near, ORDERS[1])),
    )


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


def _keep_middle(conv: nn.Conv2d) -> None:
    middle = conv.weight.shape[2] // 2
    kept = conv.weight[..., middle, middle].clone()
    conv.weight.zero_()
    conv.weight[..., middle, middle] = kept


def _enlarge(branch: Branch, found: Sequence[Known]) -> Known:
    """The mean of what was found, handed on to full size; and where the first knows it."""
    share = 1 / len(found)
    colours = (sum((known.values[c].times(share) for known in found), Wire(())) for c in range(3))
    known = Known(tuple(colours), found[0].mask)
    for conv in branch.mix[2:]:
        known = first(Layer(conv), Seen(known))
    return known


def _merge(net: GMCNN, far: Known, middle: Known, near: Known) -> None:
    """A third of each branch; where the near one does not see the border, half of the others."""
    thirds = [[each.values[c].times(1 / 3) for each in (far, middle, near)] for c in range(3)]
    sixths = [[each.values[c].times(1 / 6) for each in (far, middle)] for c in range(3)]
    shut, nothing = near.mask.times(-SHUT), Wire(())
    rows = [*thirds, *([*two, shut] for two in sixths), [nothing, nothing, near.mask]]
    layers = [Layer(merge) for merge in (net.merge_far, net.merge_middle, net.merge_near)]
    for row in rows:
        for layer, wire in zip(layers, row, strict=True):
            layer.write((wire, HERE))
    last = Layer(_convolutions(net.draw)[0])
    for c in range(3):
        last.write((Wire(((c, 1.0), (3 + c, 1.0), (6, 1.0))), HERE), bias=-1.0)


def _shrink(branch: Branch) -> Known:
    """What is known at a quarter of the size: of each block of 4 x 4 one pixel, if there is any."""
    stem, half, between, quarter = map(Layer, branch.shrink)
    known = first(stem, Seen(_inputs()))
    known = first(half, *(Seen(known, tap) for tap in BLOCK))
    known = first(between, Seen(known))
    return first(quarter, *(Seen(known, tap) for tap in BLOCK))


def _from_sides(branch: Branch) -> list[Known]:
    """What each of the four sides knows at every pixel."""
    sides = [_shrink(branch)] * len(SIDES)
    for conv, step in zip(branch.carry, branch.steps, strict=True):
        layer = Layer(conv)
        sides = [_spread(layer, side, [tap], step) for side, tap in zip(sides, SIDES, strict=True)]
    sides = _stand_in(Layer(branch.mix[0]), sides, OPPOSITE)
    return _stand_in(Layer(branch.mix[1]), sides, ACROSS)


def _from_nearest(branch: Branch, orders: Sequence[Sequence[Tap]]) -> list[Known]:
    """What is found at every pixel by looking around, for each order of the sides."""
    found = [_shrink(branch)] * len(orders)
    for conv, step in zip(branch.carry, branch.steps, strict=True):
        layer = Layer(conv)
        found = [_spread(layer, k, order, step) for k, order in zip(found, orders, strict=True)]
    for conv in branch.mix[:2]:
        layer = Layer(conv)
        found = [first(layer, Seen(known)) for known in found]
    return found


def _stand_in(layer: Layer, sides: Sequence[Known], other: Sequence[int]) -> list[Known]:
    """Of each side, another where it knows nothing."""
    return [first(layer, Seen(side), Seen(sides[i])) for side, i in zip(sides, other, strict=True)]


def _inputs() -> Known:
    """Of the net's five channels: colours where they are known, 1, and the hole."""
    mask = Wire(((3, 1.0), (4, -1.0)))
    return Known(tuple(Wire(((c, 1.0),)) + mask for c in range(3)), mask)


def _spread(layer: Layer, known: Known, taps: Sequence[Tap], step: int) -> Known:
    """What is known, spread a step away from the first of some sides that knows more."""
    away = (Seen(known, (down * step, right * step)) for down, right in taps)
    return first(layer, Seen(known), *away)
