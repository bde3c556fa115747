"""What the cache keeps of a query: the files that its build read, and the object it led to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from model_defs.errors import BadRecord
from toolchain.bundle.manifest import Digest
from toolchain.bundle.reading import DataFile, StrictModel, json_object, read_text, validated


class CacheRecord(StrictModel):
    """Files by their paths, with their digests, and the key of an object."""

    inputs: Mapping[str, Digest]
    key: Digest


def read(path: Path) -> CacheRecord:
    """A record; BadRecord for one that is damaged or not there."""
    file = DataFile("the cache's record", str(path), BadRecord)
    return validated(CacheRecord, json_object(read_text(path, file), file), file)


def text_of(record: CacheRecord) -> str:
    """What the file holds."""
    return json.dumps(record.model_dump(mode="json"), indent=1)
