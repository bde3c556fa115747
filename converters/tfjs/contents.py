"""What the bytes of a TF.js model's folder are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from converters.contents import Item, tensor_item

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
    """Each weight of a graph: what its manifest says of it, and its bytes."""
    for group in model["weightsManifest"]:
        shards = b"".join((path / shard).read_bytes() for shard in group["paths"])
        offset = 0
        for entry in group["weights"]:
            dtype, shape = _stored_as(entry)
            count = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            yield entry, shards[offset : offset + count]
            offset += count


def _stored_as(entry: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    """The type and the shape of its numbers in the shards."""
    dtype: str = entry.get("quantization", entry)["dtype"]
    return dtype, tuple(int(n) for n in entry["shape"])
