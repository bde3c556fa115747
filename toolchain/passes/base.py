"""What a pass is, with all that is known of it, and what a recipe may write after its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from converters.api import Program

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


NO_KERNEL = "there is no kernel of a convolution or linear layer that it stores in fewer bytes"

OF_EACH_LAYER: Mapping[str, Fields] = {"layer": {"scope": "layer"}}


class Pass:
    """A frozen dataclass whose fields are its options.

    Called with a program it returns a new one, or the same object where it changed nothing. What
    others ask about it is said here, once:

    `exact`: it leaves the outputs as they are, up to float32 rounding.
    `near`: it moves the outputs by less than a model's tolerance.
    `prunes`: after it it is another net: what numbers lose on the way is lost to that one.
    `option`: what a recipe may write after its name.
    `idle`: why it may leave a program as it is, said in the notes where it does; "" where that is
    no news.
    `stores`: the types in which it wants numbers stored, which a target has to hold.

    Its module imports torch and numpy where it is called, not before: recipes are read, and
    refused, without them.
    """

    name: ClassVar[str]
    exact: ClassVar[bool]
    near: ClassVar[bool] = False
    prunes: ClassVar[bool] = False
    option: ClassVar[Option | None] = None
    idle: ClassVar[str] = ""

    @property
    def stores(self) -> tuple[str, ...]:
        return ()

    def __call__(self, program: Program) -> Program:
        raise NotImplementedError(f"{type(self).__name__} says nothing of what it does")
