"""The name of a model's file, with what the user says of it behind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model_defs.errors import BadSpec
from model_defs.lookup import TRUST_PICKLE, file_of_model

SHAPE = re.compile(r"(?:(?P<name>[^=,]+)=)?(?P<sizes>\d+(?:,\d+)*)")


@dataclass(frozen=True)
class FileRequest:
    """A file, and what the user says of it: sizes of inputs by name, "" those in their order."""

    path: Path
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    trust_pickle: bool = False

    @property
    def named(self) -> Mapping[str, tuple[int, ...]]:
        return dict(self.shapes)


def parsed(name: str) -> FileRequest:
    """A file's name and what is said behind it. Raises BadSpec."""
    found = file_of_model(name)
    assert found is not None
    path, said = found
    shapes, trust, before = [], False, ""
    for part in said:
        word = before + part
        shape = SHAPE.fullmatch(word)
        if word == TRUST_PICKLE:
            trust = True
        elif shape is None:
            before = f"{word}:"  # of a name that has one in it: input:0=1,3,224,224
            continue
        else:
            sizes = tuple(int(n) for n in shape["sizes"].split(","))
            shapes.append((shape["name"] or "", sizes))
        before = ""
    if before or (path.suffix == ".onnx" and any(not one for one, _ in shapes)):
        raise BadSpec(
            f"'{':'.join(said)}' says no shapes",
            where=name,
            do="write input=1,3,224,224, or, where it is no ONNX file, 1,3,224,224 alone",
        )
    return FileRequest(path, tuple(shapes), trust)
