"""Take whole channels out of a net, with all that stands or falls with them."""

from __future__ import annotations

import copy
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from model_defs.errors import PassFailed, UnknownName
from toolchain.passes.base import OF_EACH_LAYER, Option, Pass
from toolchain.pruning.goal import IMPORTANCES, PruningGoal, below, wrong

if TYPE_CHECKING:
    from torch import nn

    from converters.api import Program
    from converters.channels.groups import Channels, Chosen


NOTHING = (
    "prune-channels took nothing out: each channel is an input's or an output's, goes with one of "
    "these (as where layers share a kernel), or is normalised or summed up with others (GroupNorm, "
    "LayerNorm, a mean), which of fewer is another number"
)
MOST_NAMED = 6
"""So many layers are named in a note."""


@dataclass(frozen=True)
class PruneChannels(PruningGoal, Pass):
    """Takes out the channels that matter least.

    Before: x -> Conv2d(3, 64) -> BatchNorm2d(64) -> ReLU -> Conv2d(64, 8) -> y
    After:  x -> Conv2d(3, 40) -> BatchNorm2d(40) -> ReLU -> Conv2d(40, 8) -> y

    What goes is said by the fields of PruningGoal.

    Blocked for inputs, outputs and what goes with them; where a slice, a reduction or a width
    written in the code says which channels there are; and for operations that the analysis does
    not know: these are noted, and so is a net of which nothing can go.
    """

    name: ClassVar[str] = "prune-channels"
    exact: ClassVar[bool] = False
    prunes: ClassVar[bool] = True
    option: ClassVar[Option] = Option(
        "ratio",
        bounds=(0, 1),
        example="prune-channels=0.3 or prune-channels=0.3/taylor",
        words={**OF_EACH_LAYER, **{kind: {"importance": kind} for kind in IMPORTANCES}},
    )

    def __call__(self, program: Program) -> Program:
        from converters.capture import example
        from converters.channels.find import channels_of, explains
        from converters.channels.remove import remove
        from toolchain.pruning.choice import ChannelChoice
        from toolchain.pruning.importance import score_channels

        if program.encodings:
            raise wrong("the weights are encoded already", "name it before what encodes them")
        channels = channels_of(program.module, example(program.spec))
        self._check_layers(channels)
        if not channels.groups:
            return _noted(program, NOTHING + _together(program.module), *_left(channels))
        found = score_channels(program, channels, self.importance, self.examples, self.task)
        chosen = ChannelChoice(self, channels, found).made()
        if not any(len(gone) for gone in chosen.values()):
            return _noted(program, *self._too_few(channels))
        if not explains(channels, program.module, example(program.spec), chosen):
            raise PassFailed("the net without these channels is not what was foretold")
        module = copy.deepcopy(program.module)
        remove(module, channels.cuts(chosen))
        notes = (*program.notes, _summary(channels, chosen), *_left(channels))
        return replace(program, module=module, notes=notes)

    def _too_few(self, channels: Channels) -> list[str]:
        """Why nothing goes though a ratio asks for some: a target that nothing goes for is met."""
        by_ratio = self.macs is None and self.params is None and self.bytes is None
        if not by_ratio or not any((self.ratio, *(ratio for _, ratio in self.layers))):
            return []
        whole = sum(group.size for group in channels.groups)
        why = (
            f"{self.name} took nothing out: so few of {whole} channels are asked for that each "
            f"layer keeps all, as a multiple of {self.multiple} or at least {self.least}"
        )
        return [why, *_left(channels)]

    def _check_layers(self, channels: Channels) -> None:
        names = [group.name for group in channels.groups]
        for path, _ in self.layers:
            if not any(below(name, path) for name in names):
                raise UnknownName.among("layer that can be pruned", path, names)


def _noted(program: Program, *notes: str) -> Program:
    """The program with these notes; the same object where it has them."""
    new = [note for note in notes if note not in program.notes]
    return replace(program, notes=(*program.notes, *new)) if new else program


def _together(module: nn.Module) -> str:
    """The layers that hold channels together: norms over several, kernels in two places."""
    from torch import nn

    over_several = (nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm, nn.RMSNorm)
    found = [
        f"{path} ({type(part).__name__})"
        for path, part in module.named_modules()
        if isinstance(part, over_several)
    ]
    names: dict[int, list[str]] = defaultdict(list)
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    found += [" is ".join(tied) for tied in names.values() if len(tied) > 1]
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f". Here: {', '.join(found[:MOST_NAMED])}{more}" if found else ""


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
