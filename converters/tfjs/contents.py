"""What the bytes of a TF.js model's folder are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from converters.contents import Item, tensor_item


def read(path: Path) -> Iterator[Item]:
    """The entries of the weights manifest, in the order of the shards."""
    model = json.loads((path / "model.json").read_text(encoding="utf-8"))
    for group in model["weightsManifest"]:
        shards = b"".join((path / shard).read_bytes() for shard in group["paths"])
        offset = 0
        for entry in group["weights"]:
            dtype = entry.get("quantization", entry)["dtype"]
            shape = tuple(int(n) for n in entry["shape"])
            count = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            data = np.frombuffer(shards, np.uint8, count, offset)
            offset += count
            yield tensor_item(entry["name"], data, dtype, shape)
