"""What the bytes of an artifact are: each stored tensor by name, and the graph around them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from converters import formats
from converters.api import Artifact
from converters.format import resolve
from converters.malformed import Room, reading

Kind = Literal["weights", "graph", "metadata", "padding"]


@dataclass(frozen=True)
class Item:
    """Bytes of one kind. `digest` is that of a tensor's bytes, by which duplicates are found."""

    name: str
    kind: Kind
    bytes: int
    dtype: str = ""
    shape: tuple[int, ...] = ()
    digest: str = ""


def contents(artifact: Artifact) -> tuple[Item, ...]:
    """Every byte of an artifact, once: the items add up to its size on disk.

    Tensors keep the names that the format gave them. "padding" is what aligns them, "metadata"
    what no runtime computes with, "graph" everything else. Raises BadArtifact for a file that is
    malformed.
    """
    items = []
    with reading("contents", artifact.path):
        room = Room(disk_bytes(artifact.path), artifact.path.name)
        for item in resolve(formats.find(artifact.format).contents)(artifact.path):
            room.take(item.bytes)
            items.append(item)
    return (*items, Item("graph", "graph", room.left))


def disk_bytes(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files)


def tensor_item(name: str, data: Any, dtype: str, shape: tuple[int, ...]) -> Item:
    """The item of a tensor's bytes."""
    raw = np.ascontiguousarray(data).tobytes()
    return Item(name, "weights", len(raw), dtype, shape, hashlib.sha256(raw).hexdigest())
