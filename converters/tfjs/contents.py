"""What the bytes of a TF.js model's folder are."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from converters.contents import Item, tensor_item

STORED = ("float32", "float16", "int32", "uint16", "uint8", "bool")
"""Types of numbers in shards."""
CODES, SCALES = "/codes", "/scales"
"""What the factors of a kernel with a scale for each channel are called, behind its name."""


def read(path: Path) -> Iterator[Item]:
    """The entries of the weights manifest, in the order of the shards.

    Those of the graphs of further sizes follow, but for the shards that an earlier one lists.
    """
    further = sorted(path.glob("model-*.json"))
    seen: set[str] = set()
    for file in (path / "model.json", *further):
        model = json.loads(file.read_text(encoding="utf-8"))
        groups = [g for g in model["weightsManifest"] if not seen.issuperset(g["paths"])]
        seen.update(shard for group in groups for shard in group["paths"])
        for entry, data in weights_of(path, {"weightsManifest": groups}):
            dtype, shape = _stored_as(entry)
            yield tensor_item(entry["name"], np.frombuffer(data, np.uint8), dtype, shape)


def weights_of(path: Path, model: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Each weight of a graph: what its manifest says of it, and its bytes.

    ValueError for shards elsewhere or twice, and for weights that they do not hold.
    """
    groups = model["weightsManifest"]
    _check_shards([shard for group in groups for shard in group["paths"]])
    for group in groups:
        shards = b"".join((path / shard).read_bytes() for shard in group["paths"])
        offset = 0
        for entry in group["weights"]:
            dtype, shape = _stored_as(entry)
            count = math.prod(shape) * np.dtype(dtype).itemsize
            if offset + count > len(shards):
                raise ValueError(f"the shards end before '{entry['name']}' does")
            yield entry, shards[offset : offset + count]
            offset += count


def _check_shards(names: list[str]) -> None:
    """ValueError for a shard that is not a file beside the graph, or is listed again."""
    for name in names:
        if Path(name).name != name or not name.isprintable():
            raise ValueError(f"the shard {name!r} is not beside the graph")
    if len(set(names)) < len(names):
        raise ValueError("a shard is listed twice")


def _stored_as(entry: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    """The type and the shape of its numbers in the shards."""
    dtype: str = entry.get("quantization", entry)["dtype"]
    shape = tuple(int(n) for n in entry["shape"])
    if dtype not in STORED or min(shape, default=0) < 0:
        raise ValueError(f"a weight of {dtype} and shape {shape}")
    return dtype, shape
