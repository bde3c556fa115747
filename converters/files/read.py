"""From the name of a file to the specification of the model in it, whatever kind of file it is."""

from __future__ import annotations

import re
from pathlib import Path

from model_defs.errors import BadSpec
from model_defs.spec import ModelSpec

ENDING = ".onnx"
SHAPE = re.compile(r"(?P<name>[^=]+)=(?P<sizes>\d+(?:,\d+)*)(?::|$)")


def read(name: str) -> ModelSpec:
    """The model of a file: `path/to/net.onnx`, with `:input=1,3,224,224` behind it or not.

    Raises what the reader of its kind raises, BadSpec for a shape that is none.
    """
    path, shapes = parsed(name)
    from converters.files.onnx.read import read as read_onnx

    return read_onnx(path, shapes)


def parsed(name: str) -> tuple[Path, dict[str, tuple[int, ...]]]:
    """The path in a file's name, and the shapes that it says."""
    before, ending, after = name.partition(f"{ENDING}:")
    if not ending:
        return Path(name), {}
    found = {
        one["name"]: tuple(int(n) for n in one["sizes"].split(",")) for one in SHAPE.finditer(after)
    }
    if not found or SHAPE.sub("", after):
        raise BadSpec(
            f"'{after}' says no shapes", where=name, do=f"write {ENDING}:input=1,3,224,224"
        )
    return Path(before + ENDING), found
