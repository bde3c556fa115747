"""Transformations of a program, one a file; `PASSES` is the only list of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from converters.api import Program

PASSES: dict[str, str] = {
    "fold-batchnorm": "toolchain.passes.fold_batchnorm:FoldBatchnorm",
    "equalize": "toolchain.passes.equalize:Equalize",
    "prune-channels": "toolchain.passes.prune_channels:PruneChannels",
    "prune-weights": "toolchain.passes.prune_weights:PruneWeights",
    "int8": "toolchain.passes.int8:Int8",
    "weights-fp16": "toolchain.passes.weights_fp16:WeightsFp16",
    "weights-int8": "toolchain.passes.weights_int8:WeightsInt8",
    "weights-int6": "toolchain.passes.weights_int6:WeightsInt6",
    "weights-int4": "toolchain.passes.weights_int4:WeightsInt4",
    "palettize": "toolchain.passes.palettize:Palettize",
    "weights-mixed": "toolchain.passes.weights_mixed:WeightsMixed",
    "weights-uint16": "toolchain.passes.weights_uint16:WeightsUint16",
    "weights-uint8": "toolchain.passes.weights_uint8:WeightsUint8",
}


EXACT = frozenset({"fold-batchnorm", "equalize"})
"""Passes that leave the outputs as they are."""

NEAR = frozenset({"weights-fp16", "weights-uint16"})
"""Passes that move the outputs by less than a model's tolerance."""

PRUNES = frozenset({"prune-channels", "prune-weights"})
"""Passes after which it is another net: what numbers lose on the way is lost to that one."""

STORES = {
    **{f"weights-{name}": name for name in ("int8", "int6", "int4", "uint16", "uint8")},
    **{"weights-fp16": "float16", "palettize": "palette{}", "int8": "int8-activations"},
}
"""The type in which a pass wants its numbers stored; `{}` is the value of its option."""

ACTIVATIONS = "-activations"
"""What the type of integers is called that a target computes with."""

BLOCKS = "-blocks"
"""What the type of integers is called that have a scale for each block."""


def stored_by(step: str) -> str:
    """The type that the numbers of a step such as `weights-int4=32` need; "" if any does."""
    name, _, written = step.partition("=")
    option = written.partition("/")[0]
    stored = STORES.get(name, "")
    if not stored:
        return ""
    if "{}" in stored or not option or stored.endswith(ACTIVATIONS):
        return stored.format(option)
    return stored + BLOCKS


Fields = dict[str, Any]
"""Those of a pass, by name."""


@dataclass(frozen=True)
class Option:
    """What a recipe may write after a pass: a value, and after slashes words that set other fields.

    The value is one of `choices`, a share within `bounds`, or one of the words `instead`.
    """

    field: str
    choices: tuple[int | str, ...] = ()
    bounds: tuple[float, float] | None = None
    optional: bool = True
    example: str = ""
    instead: Mapping[str, Fields] = dataclasses.field(default_factory=dict)
    words: Mapping[str, Fields] = dataclasses.field(default_factory=dict)

    @property
    def allowed(self) -> str:
        if self.bounds is None:
            values = "one of " + ", ".join(map(str, self.choices))
        else:
            values = f"between {self.bounds[0]:g} and {self.bounds[1]:g}"
        return ", or ".join([f"{self.field} is {values}", *self.instead])

    def read(self, text: str) -> Fields:
        """The fields that it sets; ValueError says what is allowed where it is not that."""
        first, *rest = text.split("/")
        if first in self.words and self.optional:
            first, rest = "", [first, *rest]
        fields = self._value(first) if first or not rest else {}
        for word in rest:
            if word not in self.words:
                known = ", ".join(self.words) or "nothing"
                raise ValueError(f"after a slash comes {known}, not '{word}'")
            if fields.keys() & self.words[word].keys():
                raise ValueError(f"'{word}' says again what is said already")
            fields = fields | self.words[word]
        return fields

    def _value(self, text: str) -> Fields:
        if text in self.instead:
            return self.instead[text]
        named = {str(choice): choice for choice in self.choices}
        if text in named:
            return {self.field: named[text]}
        try:
            value = float(text)
        except ValueError:
            raise ValueError(self.allowed) from None
        if self.bounds is None or not self.bounds[0] < value < self.bounds[1]:
            raise ValueError(self.allowed)
        return {self.field: value}


OF_EACH_LAYER = {"layer": {"scope": "layer"}}

OPTIONS: dict[str, Option] = {
    "int8": Option("ranges", ("mse", "percentile", "kl", "minmax"), example="int8=mse"),
    "prune-channels": Option(
        "ratio",
        bounds=(0, 1),
        example="prune-channels=0.3 or prune-channels=0.3/taylor",
        words=OF_EACH_LAYER
        | {kind: {"importance": kind} for kind in ("magnitude", "batchnorm", "taylor", "hessian")},
    ),
    "prune-weights": Option(
        "ratio",
        bounds=(0, 1),
        example="prune-weights=0.5 or prune-weights=2:4",
        instead={each: {"pattern": each} for each in ("1:2", "1:4", "2:4", "4:8")},
        words=OF_EACH_LAYER,
    ),
    "weights-int4": Option("block", (16, 32, 64), example="weights-int4=32"),
    "palettize": Option(
        "bits",
        (8, 6, 4, 3, 2),
        optional=False,
        example="palettize=4 or palettize=4/sensitive",
        words={"sensitive": {"sensitive": True}},
    ),
}


class Pass(Protocol):
    """A frozen dataclass whose fields are its options.

    Called with a program it returns a new one, or the same object where it changed nothing.
    An `exact` pass leaves the outputs as they are, up to float32 rounding.
    """

    name: ClassVar[str]
    exact: ClassVar[bool]

    def __call__(self, program: Program) -> Program: ...
