"""The numbers of the constants of a TF.js model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from converters.api import Artifact
from converters.numbers import StoredConstant
from converters.tfjs.contents import CODES, SCALES, weights_of

MODEL = "model.json"


def read(artifact: Artifact) -> Iterator[StoredConstant]:
    """Each weight of floats once; codes that a graph multiplies by scales as what they stand for.

    Of all sizes; shards that they share are read once.
    """
    path = artifact.path
    files = [path / MODEL, *(path / entry.stored_as for entry in artifact.entries)]
    seen: set[str] = set()
    for file in files:
        model = json.loads(file.read_text(encoding="utf-8"))
        groups = [g for g in model["weightsManifest"] if not seen.issuperset(g["paths"])]
        seen.update(shard for group in groups for shard in group["paths"])
        yield from _of_graph(path, {"weightsManifest": groups})


def _of_graph(path: Path, model: dict[str, Any]) -> Iterator[StoredConstant]:
    found = {entry["name"]: _numbers(entry, data) for entry, data in weights_of(path, model)}
    for name, array in found.items():
        scales = found.get(name.removesuffix(CODES) + SCALES) if name.endswith(CODES) else None
        if array is None or (name.endswith(SCALES) and name.removesuffix(SCALES) + CODES in found):
            continue
        yield StoredConstant(name, array if scales is None else array * scales)


def _numbers(entry: dict[str, Any], data: bytes) -> np.ndarray | None:
    quantization = entry.get("quantization")
    shape = tuple(int(n) for n in entry["shape"])
    if quantization is None:
        floats = entry["dtype"] == "float32"
        return np.frombuffer(data, np.float32).reshape(shape) if floats else None
    codes = np.frombuffer(data, quantization["dtype"]).reshape(shape)
    if quantization["dtype"] == "float16":
        return codes.astype(np.float32)
    wide = codes.astype(np.float64) * quantization["scale"] + quantization["min"]
    return wide.astype(np.float32)
