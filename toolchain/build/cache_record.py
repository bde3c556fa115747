"""What the cache keeps of a query: the files that its build read, and the object it led to.

And of a conversion without passes: that it was right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import model_validator

from model_defs.errors import BadRecord
from toolchain.bundle.manifest import Digest
from toolchain.bundle.parity_report import ParityRow
from toolchain.bundle.reading import DataFile, StrictModel, json_object, read_text, validated


class CacheRecord(StrictModel):
    """Files by their paths, with their digests, and the key of an object."""

    inputs: Mapping[str, Digest]
    key: Digest


class ConversionRecord(StrictModel):
    """A conversion of a model before any pass, by its key, and the rows that say it is right."""

    key: Digest
    rows: tuple[ParityRow, ...]

    @model_validator(mode="after")
    def _is_right(self) -> ConversionRecord:
        if not self.rows or any(
            row.verdict == "failed" or row.question != "unrounded" for row in self.rows
        ):
            raise ValueError("its rows do not say that it is right")
        return self


def read_conversion(path: Path, key: str) -> ConversionRecord:
    """The record of a conversion; BadRecord for one that is damaged, another's, or not there."""
    file = DataFile("the cache's record of a conversion", str(path), BadRecord)
    record = validated(ConversionRecord, json_object(read_text(path, file), file), file)
    if record.key != key:
        raise file.refuse("it is of another conversion", "key")
    return record


def read(path: Path) -> CacheRecord:
    """A record; BadRecord for one that is damaged or not there."""
    file = DataFile("the cache's record", str(path), BadRecord)
    return validated(CacheRecord, json_object(read_text(path, file), file), file)


def text_of(record: CacheRecord | ConversionRecord) -> str:
    """What the file holds."""
    return json.dumps(record.model_dump(mode="json"), indent=1)
