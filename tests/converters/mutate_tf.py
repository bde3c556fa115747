"""Changes saved models, for tests of those who check.

perturb_tflite(path)            changes one weight of a .tflite visibly
perturb_tfjs(folder)            changes one weight in a shard of a TF.js model
truncate(path, keep=0.5)        cuts a file short
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

TYPES = {0: np.float32, 1: np.float16}
"""TFLite's TensorType of the constants that we may change."""


def perturb_tflite(path: Path, *, by: float = 1.0) -> None:
    """Adds `by` to the first number of the largest float constant."""
    from ai_edge_litert import schema_py_generated as schema

    from converters.tflite.store import packed

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    tensors = [t for g in model.subgraphs for t in g.tensors if t.type in TYPES]
    sizes = {id(t): _length(model.buffers[t.buffer].data) for t in tensors}
    largest = max(tensors, key=lambda t: sizes[id(t)])
    assert sizes[id(largest)], "the model has no float constant"
    buffer = model.buffers[largest.buffer]
    numbers = np.frombuffer(bytes(buffer.data), TYPES[largest.type]).copy()
    numbers[0] += by
    buffer.data = numbers.view(np.uint8)
    path.write_bytes(packed(model))


def perturb_tfjs(folder: Path, *, by: float = 1.0) -> None:
    """Adds `by` to the first number of the largest weight, in the shard that holds it."""
    manifest = json.loads((folder / "model.json").read_text())["weightsManifest"][0]
    offset, places = 0, []
    for spec in manifest["weights"]:
        kind = np.dtype(spec.get("quantization", spec)["dtype"])
        count = int(np.prod(spec["shape"]))
        if kind.kind == "f":
            places.append((count, offset, kind))
        offset += count * kind.itemsize
    _, start, kind = max(places, key=lambda place: place[0])
    for name in manifest["paths"]:
        shard = folder / name
        if start < shard.stat().st_size:
            break
        start -= shard.stat().st_size
    data = bytearray(shard.read_bytes())
    number = np.frombuffer(bytes(data[start : start + kind.itemsize]), kind) + kind.type(by)
    data[start : start + kind.itemsize] = number.tobytes()
    shard.write_bytes(bytes(data))


def truncate(path: Path, *, keep: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def _length(data: object) -> int:
    return 0 if data is None else len(data)  # type: ignore[arg-type]
