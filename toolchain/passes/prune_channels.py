"""Take whole channels out of a net, with all that stands or falls with them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from converters.api import Program
from converters.capture import example
from converters.channels.find import channels_of, explains
from converters.channels.groups import Channels, Chosen
from converters.channels.remove import remove
from model_defs.errors import BadRecipe, PassFailed, UnknownName
from toolchain.pruning.choice import ChannelChoice, below
from toolchain.pruning.importance import IMPORTANCES, Importance, scores


@dataclass(frozen=True)
class PruneChannels:
    """Takes out the channels that matter least.

    Before: x -> Conv2d(3, 64) -> BatchNorm2d(64) -> ReLU -> Conv2d(64, 8) -> y
    After:  x -> Conv2d(3, 40) -> BatchNorm2d(40) -> ReLU -> Conv2d(40, 8) -> y

    Up to `ratio` of them, or so many that `macs` or `params` are at most this share of what they
    were, or float32 weights at most `bytes`: a target takes the ratio's place. `scope` "global"
    compares all channels, "layer" takes alike from each layer. `layers` are ratios for layers
    below a path. Of the other layers none loses more than `most` of its channels (None: half, or
    the ratio if that is more). Each keeps `least`, and a multiple of `multiple` where it has at
    least two of that.

    Blocked for inputs, outputs and what goes with them; where a slice, a reduction or a width
    written in the code says which channels there are; and for operations that the analysis does
    not know: these are noted.
    """

    name: ClassVar[str] = "prune-channels"
    exact: ClassVar[bool] = False

    ratio: float = 0.3
    macs: float | None = None
    params: float | None = None
    bytes: int | None = None
    importance: Importance = "magnitude"
    scope: Literal["global", "layer"] = "global"
    layers: tuple[tuple[str, float], ...] = ()
    least: int = 1
    most: float | None = None
    multiple: int = 8
    examples: int = 32
    task: str = ""

    def __post_init__(self) -> None:
        for name, value in (("ratio", self.ratio), ("most", self.loses), *self.layers):
            if not 0 <= value < 1:
                raise _wrong(f"{name} is {value:g}", "give a share from 0 up to, not with, 1")
        if self.ratio > self.loses:
            raise _wrong(f"ratio {self.ratio:g} is beyond most, {self.most:g}", "raise most")
        for name, share in (("macs", self.macs), ("params", self.params)):
            if share is not None and not 0 < share <= 1:
                raise _wrong(f"{name} is {share:g}", "give the share that is to be left, up to 1")
        for name in ("bytes", "least", "multiple", "examples"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise _wrong(f"{name} is {count}", "give 1 or more")
        if sum(target is not None for target in (self.macs, self.params, self.bytes)) > 1:
            raise _wrong("there are several targets", "give one of macs, params and bytes")
        if self.importance not in IMPORTANCES:
            raise UnknownName.among("importance", self.importance, IMPORTANCES)
        if self.scope not in ("global", "layer"):
            raise UnknownName.among("scope", self.scope, ("global", "layer"))

    @property
    def loses(self) -> float:
        """The largest share that a layer loses without a ratio of its own."""
        return max(0.5, self.ratio) if self.most is None else self.most

    def __call__(self, program: Program) -> Program:
        if program.encodings:
            raise _wrong("the weights are encoded already", "name it before what encodes them")
        channels = channels_of(program.module, example(program.spec))
        self._check_layers(channels)
        found = scores(program, channels, self.importance, self.examples, self.task)
        chosen = ChannelChoice(self, channels, found).made()
        if not any(len(gone) for gone in chosen.values()):
            return program
        if not explains(channels, program.module, example(program.spec), chosen):
            raise PassFailed("the net without these channels is not what was foretold")
        module = copy.deepcopy(program.module)
        remove(module, channels.cuts(chosen))
        notes = (*program.notes, _summary(channels, chosen), *_left(channels))
        return replace(program, module=module, notes=notes)

    def _check_layers(self, channels: Channels) -> None:
        names = [group.name for group in channels.groups]
        for path, _ in self.layers:
            if not any(below(name, path) for name in names):
                raise UnknownName.among("layer that can be pruned", path, names)


def _wrong(what: str, do: str) -> BadRecipe:
    return BadRecipe(f"{PruneChannels.name}: {what}", do=do)


def _summary(channels: Channels, chosen: Chosen) -> str:
    gone = sum(map(len, chosen.values()))
    whole = sum(group.size for group in channels.groups)
    macs, numbers = channels.macs(chosen), channels.numbers(chosen)
    return (
        f"{gone} of {whole} channels were taken out: {macs / max(1, channels.macs({})):.0%} of the "
        f"multiply-adds and {numbers / channels.numbers({}):.0%} of the numbers are left"
    )


def _left(channels: Channels) -> list[str]:
    notes = []
    if channels.unknown:
        notes.append(f"channels at {', '.join(channels.unknown)} were not followed, and left")
    if channels.refused:
        names = ", ".join(channels.refused)
        notes.append(f"channels of {names} were left: the net's code has their number in it")
    return notes
