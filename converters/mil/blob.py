"""Reads `weights/weight.bin`, where a package keeps its large constants.

A file is a 64-byte header (`u32 count, u32 version = 2`) and blobs, each behind a 64-byte
record: `u32 0xDEADBEEF, u32 dtype, u64 bytes, u64 offset of the data, u64 padding bits`. The
program points at the record. Numbers below 8 bits are packed little-endian, lowest bit first,
and run across bytes; signed ones are two's complement.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from converters.mil.types import BITS, TensorType
from model_defs.errors import BadArtifact

RECORD = struct.Struct("<IIQQQ")
SENTINEL = 0xDEADBEEF
HEADER_BYTES = 64

CODES: dict[int, str] = {
    1: "fp16",
    2: "fp32",
    3: "uint8",
    4: "int8",
    6: "int16",
    7: "uint16",
    8: "int4",
    9: "uint1",
    10: "uint2",
    11: "uint4",
    12: "uint3",
    13: "uint6",
    14: "int32",
    15: "uint32",
}


class BlobFile:
    """A mapped weight file; values are read when asked for."""

    def __init__(self, path: Path) -> None:
        try:
            self.bytes = np.memmap(path, np.uint8, "r")
        except (OSError, ValueError) as error:
            raise BadArtifact(
                f"the weights cannot be read: {error}",
                where=str(path),
                do="restore the file or build the package again",
            ) from error
        self.path = path
        if len(self.bytes) < HEADER_BYTES or self._integers("<I", 4) != (2,):
            raise self._error("does not begin with the header of a weight file, version 2")

    def locate(self, offset: int, declared: TensorType) -> tuple[int, int]:
        """Where the data of the record at `offset` lies, as (start, bytes).

        Raises BadArtifact unless the record is there, is of the declared dtype and size, and
        its data lies within the file.
        """
        if offset % 64 or offset < HEADER_BYTES or offset + RECORD.size > len(self.bytes):
            raise self._error(f"has no record at offset {offset}")
        sentinel, code, nbytes, start, _ = self._integers(RECORD.format, offset)
        if sentinel != SENTINEL:
            raise self._error(f"has no record at offset {offset}")
        if CODES.get(code) != declared.dtype:
            raise self._error(
                f"holds {CODES.get(code, f'dtype code {code}')} at offset {offset}, not {declared}"
            )
        count = math.prod(declared.fixed)
        bits = BITS.get(declared.dtype, declared.numpy.itemsize * 8)
        if nbytes != (count * bits + 7) // 8:
            raise self._error(f"holds {nbytes} bytes at offset {offset}, not {declared}")
        if start + nbytes > len(self.bytes):
            raise self._error(f"ends before the data of the record at offset {offset}")
        return start, nbytes

    def read(self, offset: int, declared: TensorType) -> np.ndarray:
        """The values of the record at `offset`, in the declared shape."""
        start, nbytes = self.locate(offset, declared)
        data = self.bytes[start : start + nbytes]
        if declared.dtype in BITS:
            return unpack(data, declared)
        return data.view(declared.numpy).reshape(declared.fixed)

    def _integers(self, layout: str, offset: int) -> tuple[int, ...]:
        return struct.unpack(
            layout, self.bytes[offset : offset + struct.calcsize(layout)].tobytes()
        )

    def _error(self, what: str) -> BadArtifact:
        return BadArtifact(
            f"{self.path.name} {what}",
            where=str(self.path),
            do="restore the file or build the package again",
        )


def unpack(packed: np.ndarray, declared: TensorType) -> np.ndarray:
    """Numbers below 8 bits, one to a byte, from their packed bytes."""
    bits = BITS[declared.dtype]
    shape = declared.fixed
    count = math.prod(shape)
    if len(packed) != (count * bits + 7) // 8:
        raise BadArtifact(f"{len(packed)} bytes do not hold {declared}")
    planes = np.unpackbits(packed, bitorder="little", count=count * bits).reshape(count, bits)
    values = np.packbits(planes, axis=1, bitorder="little").reshape(shape)
    if declared.dtype != "int4":
        return values
    # Two's complement: with the sign bit flipped the codes ascend from -8.
    return ((values ^ 8).astype(np.int8) - 8).astype(np.int8)
