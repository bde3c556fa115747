"""How two processes exchange tensors: the header's length, the header, the tensors' bytes.

The length is 4 bytes, little-endian; the header is JSON, and its `tensors` list gives the name,
numpy type and shape of each array that follows, in C order, one after the other.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from converters.api import Tensors

Frame = tuple[dict[str, Any], dict[str, np.ndarray]]


def pack(header: dict[str, Any], tensors: Tensors) -> bytes:
    """The bytes of one frame."""
    described = [
        {"name": name, "dtype": array.dtype.name, "shape": array.shape}
        for name, array in tensors.items()
    ]
    text = json.dumps({**header, "tensors": described}).encode()
    return b"".join([struct.pack("<I", len(text)), text, *(a.tobytes() for a in tensors.values())])


def read(take: Callable[[int], bytes]) -> Frame:
    """One frame's header and tensors; `take(n)` returns the next n bytes."""
    (length,) = struct.unpack("<I", take(4))
    header = json.loads(take(length))
    tensors = {}
    for described in header.pop("tensors", ()):
        kind, shape = np.dtype(described["dtype"]), tuple(described["shape"])
        data = take(int(np.prod(shape, dtype=np.int64)) * kind.itemsize)
        tensors[described["name"]] = np.frombuffer(data, kind).reshape(shape)
    return header, tensors
