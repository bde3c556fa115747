"""What a user types of a model: its file's name, what its inputs are like, that it is trusted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_defs.errors import BadSpec, UnknownName
from model_defs.lookup import TRUST_PICKLE, file_of_model
from model_defs.spec import DTYPES

if TYPE_CHECKING:
    import torch

SYNTAX = "[NAME=]SHAPE[:TYPE[:LOW..HIGH]], as 1,3,224,224 or tokens=1,16:int64:0..29999"
_NUMBER = r"-?\d*\.?\d+(?:e-?\d+)?"
_TEXT = re.compile(
    r"(?:(?P<name>[^=,]+)=)?(?P<shape>\d+(?:,\d+)*)"
    rf"(?::(?P<type>{'|'.join(DTYPES)})(?::(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER}))?)?"
)
_MORE = re.compile(rf"{'|'.join(DTYPES)}|{_NUMBER}\.\.{_NUMBER}")
"""What may follow a shape in a name."""


@dataclass(frozen=True)
class InputExample:
    """What is said of an input; without a name it is the next one, without bounds 0 to 1."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    low: float | None = None
    high: float | None = None

    @classmethod
    def read(cls, text: str) -> InputExample:
        """What is typed, as SYNTAX has it. Raises BadSpec."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise BadSpec(
                f"'{text}' is no example", do=f"write it as {SYNTAX}; types: {', '.join(DTYPES)}"
            )
        shape = tuple(int(n) for n in found["shape"].split(","))
        if 0 in shape:
            raise BadSpec(
                f"the example '{text}' holds no numbers", do="give at least 1 along each axis"
            )
        dtype = found["type"] or "float32"
        if found["low"] is None:
            return cls(found["name"] or "", shape, dtype)
        low, high = float(found["low"]), float(found["high"])
        if not low < high:
            raise BadSpec(f"{low:g} is not below {high:g} in the example '{text}'", do=SYNTAX)
        return cls(found["name"] or "", shape, dtype, low, high)

    @classmethod
    def of(cls, tensor: torch.Tensor, name: str = "") -> InputExample:
        """What a tensor is an example of. Raises BadSpec for numbers of another type."""
        dtype = "float32" if tensor.is_floating_point() else str(tensor.dtype).partition(".")[2]
        if dtype not in DTYPES or not tensor.numel():
            what = f"{tuple(tensor.shape)} numbers of {dtype} are no example of an input"
            raise BadSpec(what, do=f"give numbers of {', '.join(DTYPES)}")
        if dtype == "bool":
            return cls(name, tuple(tensor.shape), dtype)
        low, high = float(tensor.min()), float(tensor.max())
        return cls(name, tuple(tensor.shape), dtype, low, max(high, low + 1))

    def __str__(self) -> str:
        sizes = ",".join(map(str, self.shape))
        bounds = "" if self.low is None else f":{self.low:.9g}..{self.high:.9g}"
        kind = f":{self.dtype}" if bounds or self.dtype != "float32" else ""
        return f"{f'{self.name}=' if self.name else ''}{sizes}{kind}{bounds}"

    def tensor(self) -> torch.Tensor:
        """Random numbers between the bounds, which are among them; the same every time."""
        import torch

        random = torch.rand(self.shape, generator=torch.Generator().manual_seed(0))
        if self.dtype == "bool":
            return random > 0.5
        if self.dtype != "float32" and self.low is None:
            raise BadSpec(
                f"which {self.dtype} the input {self.name or self} takes is not known",
                do=f"say the least and the largest: --example {self}:0..9",
            )
        if self.low is None or self.high is None:
            return random
        found = random * (self.high - self.low) + self.low
        found.view(-1)[0], found.view(-1)[-1] = self.low, self.high
        return found if self.dtype == "float32" else found.round().to(getattr(torch, self.dtype))


@dataclass(frozen=True)
class FileRequest:
    """A file, and what the user says of it: of inputs by name, and of others in their order."""

    path: Path
    examples: tuple[InputExample, ...] = ()
    trust_pickle: bool = False

    def of(self, names: tuple[str, ...]) -> dict[str, InputExample]:
        """What is said of each of these inputs. Raises BadSpec for what is said of no other."""
        found = {one.name: one for one in self.examples if one.name}
        free = iter([name for name in names if name not in found])
        for one in self.examples:
            if not one.name:
                found[next(free, "")] = one
        if "" in found:
            raise BadSpec(
                f"more examples than inputs: {found['']}",
                where=str(self.path),
                do=f"its inputs are {', '.join(names)}",
            )
        for name in found.keys() - set(names):
            raise UnknownName.among("input", name, names)
        return found


def parsed(name: str) -> FileRequest:
    """A file's name and what is said behind it. Raises BadSpec."""
    found = file_of_model(name)
    assert found is not None
    path, said = found
    texts: list[str] = []
    trust, before = False, ""
    for part in said:
        word = before + part
        before = ""
        if word == TRUST_PICKLE:
            trust = True
        elif texts and _MORE.fullmatch(word):
            texts[-1] += f":{word}"
        elif _TEXT.fullmatch(word):
            texts.append(word)
        else:
            before = f"{word}:"  # of a name that has one in it: input:0=1,3,224,224
    if before:
        raise BadSpec(
            f"'{':'.join(said)}' says no shapes",
            where=name,
            do=f"write {SYNTAX} behind the file's name, or pass it with --example",
        )
    return FileRequest(path, tuple(map(InputExample.read, texts)), trust)
