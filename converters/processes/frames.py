"""How two processes exchange tensors: the header's length, the header, the tensors' bytes.

The length is 4 bytes, little-endian; the header is JSON, and its `tensors` list gives the name,
numpy type and shape of each array that follows, in C order, one after the other.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from converters.api import Tensors
from converters.processes import children

Frame = tuple[dict[str, Any], dict[str, np.ndarray]]


def pack(header: dict[str, Any], tensors: Tensors) -> bytes:
    """The bytes of one frame."""
    described = [
        {"name": name, "dtype": array.dtype.name, "shape": array.shape}
        for name, array in tensors.items()
    ]
    text = json.dumps({**header, "tensors": described}).encode()
    return b"".join([struct.pack("<I", len(text)), text, *(a.tobytes() for a in tensors.values())])


def standard() -> tuple[Callable[[bytes], None], Callable[[int], bytes]]:
    """(write, take) of standard output and input, which nothing else may write to from now on.

    What others print goes to standard error; where the input ends, or the process that started
    this one, so does this process.
    """
    children.end_with_parent()
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def write(frame: bytes) -> None:
        output.write(frame)
        output.flush()

    def take(count: int) -> bytes:
        data = sys.stdin.buffer.read(count)
        if len(data) < count:
            sys.exit(0)
        return data

    return write, take


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
