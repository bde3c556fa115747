"""Which channels are to go: so many, by which measure, from where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from model_defs.errors import BadRecipe, UnknownName

Importance = Literal["magnitude", "batchnorm", "taylor", "hessian"]
IMPORTANCES: tuple[Importance, ...] = get_args(Importance)


@dataclass(frozen=True)
class PruningGoal:
    """How much is taken out of a net.

    Up to `ratio` of them, or so many that `macs` or `params` are at most this share of what they
    were, or float32 weights at most `bytes`: a target takes the ratio's place. `scope` "global"
    compares all channels, "layer" takes alike from each layer. `layers` are ratios for layers
    below a path. Of the other layers none loses more than `most` of its channels (None: half, or
    the ratio if that is more). Each keeps `least`, and a multiple of `multiple` where it has at
    least two of that.
    """

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
                raise wrong(f"{name} is {value:g}", "give a share from 0 up to, not with, 1")
        if self.ratio > self.loses:
            raise wrong(f"ratio {self.ratio:g} is beyond most, {self.most:g}", "raise most")
        for name, share in (("macs", self.macs), ("params", self.params)):
            if share is not None and not 0 < share <= 1:
                raise wrong(f"{name} is {share:g}", "give the share that is to be left, up to 1")
        for name in ("bytes", "least", "multiple", "examples"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise wrong(f"{name} is {count}", "give 1 or more")
        if sum(target is not None for target in (self.macs, self.params, self.bytes)) > 1:
            raise wrong("there are several targets", "give one of macs, params and bytes")
        if self.importance not in IMPORTANCES:
            raise UnknownName.among("importance", self.importance, IMPORTANCES)
        if self.scope not in ("global", "layer"):
            raise UnknownName.among("scope", self.scope, ("global", "layer"))

    @property
    def loses(self) -> float:
        """The largest share that a layer loses without a ratio of its own."""
        return max(0.5, self.ratio) if self.most is None else self.most


def wrong(what: str, do: str) -> BadRecipe:
    return BadRecipe(f"prune-channels: {what}", do=do)


def below(name: str, path: str) -> bool:
    """Whether a layer is the one at a path, or within it."""
    return f"{name}.".startswith(f"{path}.")
