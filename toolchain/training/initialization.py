"""Convolutions followed by ELU, written by hand: sums, and choices of the first that is known.

ELU is the identity above 0 and -1 far below: `elu(x - C)` shuts a colour out, and the -1 that is
left of it can be added again.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

SHUT = 12.0
"""What shuts a channel of ELU: of values up to 2, exp(2 - 12) = 5e-5 remain, layer by layer."""

Tap = tuple[int, int]
"""How many rows down and columns right a kernel looks."""

HERE: Tap = (0, 0)


@dataclass(frozen=True)
class ChannelSum:
    """A sum of a layer's channels, each times a factor. Outside of the picture it is 0."""

    terms: tuple[tuple[int, float], ...]

    def __add__(self, other: ChannelSum) -> ChannelSum:
        return ChannelSum(self.terms + other.terms)

    def times(self, factor: float) -> ChannelSum:
        return ChannelSum(tuple((channel, factor * value) for channel, value in self.terms))


@dataclass(frozen=True)
class Known:
    """Colours in 0..2, which are 0 where `mask`, 1 or 0, says that none is known."""

    values: tuple[ChannelSum, ...]
    mask: ChannelSum

    @property
    def sums(self) -> tuple[ChannelSum, ...]:
        return (*self.values, self.mask)


@dataclass(frozen=True)
class KnownTap:
    """What is known `tap` pixels away."""

    known: Known
    tap: Tap = HERE


class ChannelWriter:
    """Writes the rows of a convolution, channel after channel."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.conv, self.written = conv, 0

    def write(self, *terms: tuple[ChannelSum, Tap], bias: float = 0.0) -> ChannelSum:
        """A channel that is the sum of these, each as it is a tap away."""
        row = self.written
        self.written += 1
        weight, dilation = self.conv.weight, self.conv.dilation[0]
        middle = weight.shape[2] // 2
        weight[row] = 0
        for each, (down, right) in terms:
            at = middle + down // dilation, middle + right // dilation
            for channel, factor in each.terms:
                weight[row, channel, at[0], at[1]] += factor
        if self.conv.bias is not None:
            self.conv.bias[row] = bias
        return ChannelSum(((row, 1.0),))


def first(layer: ChannelWriter, *seen: KnownTap) -> Known:
    """The values of the first that is known; unknown where none is.

    The mask is one of them: `m + elu(n - C m) - elu(-C m)` is 1 where m or n is, and errors of
    m stay as large as they are, while a threshold would multiply them layer by layer.
    """
    total: list[ChannelSum] = [ChannelSum(())] * len(seen[0].known.sums)
    gates: list[tuple[ChannelSum, Tap]] = []
    for each in seen:
        written = [layer.write((part, each.tap), *gates) for part in each.known.sums]
        shut = layer.write(*gates).times(-1) if gates else ChannelSum(())
        total = [before + now + shut for before, now in zip(total, written, strict=True)]
        gates.append((each.known.mask.times(-SHUT), each.tap))
    return Known(tuple(total[:-1]), total[-1])
