"""Names of a .tflite file's tensors: of values those of the layers that compute them.

A value that several layers were fused into has a name of each, the latest first. Names are bytes
that every file carries, so what later parts have in common with the first is left out.
"""

from __future__ import annotations

import re

from converters.lowering.scope import SCOPE

PREFIX = f"{SCOPE}/"
"""What names of a lowered graph begin with, and those of a file do not."""

FUSED, BESIDE = ";", "<"
"""What is before a part that stands as it is, and before one without its first folders."""


def short(name: str) -> str:
    """`Net/a/2/Relu;Net/a/0/Conv` is `a/2/Relu<0/Conv`."""
    first, *others = (part.removeprefix(PREFIX) for part in name.split(FUSED))
    return first + "".join(_seen_from(first, other) for other in others)


def whole(name: str) -> str:
    """`a/2/Relu<0/Conv` is `a/2/Relu;a/0/Conv`; what `short` did not make stays."""
    first, *others = re.split(f"([{FUSED}{BESIDE}])", name)
    for mark, part in zip(others[::2], others[1::2], strict=True):
        folders = first.split(FUSED)[0].split("/")
        shared = folders[: len(folders) - len(part.split("/"))] if mark == BESIDE else []
        first += FUSED + "/".join([*shared, part])
    return first


def layer_of(name: str) -> str:
    """The layer whose numbers an operation reads, by the name of its result: the earliest."""
    earliest = whole(name).split(FUSED)[-1]
    return earliest.rpartition("/")[0] if "/" in earliest else earliest


def _seen_from(first: str, other: str) -> str:
    mine, theirs = first.split("/"), other.split("/")
    if len(mine) != len(theirs) or mine[0] != theirs[0] or mine == theirs:
        return FUSED + other
    shared = [a == b for a, b in zip(mine, theirs, strict=True)].index(False)
    return BESIDE + "/".join(theirs[shared:])
