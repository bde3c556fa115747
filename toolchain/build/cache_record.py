"""What the cache keeps beside bundles: which request led to which, and who made them.

Every record is signed for the place where it lies; one that is not ours is not read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import model_validator

from model_defs.errors import BadRecord
from toolchain.build import signature
from toolchain.bundle.files import write_whole
from toolchain.bundle.manifest import Digest
from toolchain.bundle.parity_report import ParityRow
from toolchain.bundle.reading import DataFile, StrictModel, json_object, read_text, validated


class CacheRecord(StrictModel):
    """What all records have: whose they are."""

    signature: Digest | None = None


class RequestRecord(CacheRecord):
    """Of a request: the files that its build read, with their digests, and an object's key."""

    inputs: Mapping[str, Digest]
    key: Digest


class ObjectRecord(CacheRecord):
    """Of an object: the digest of its manifest, which vouches for all its files."""

    manifest: Digest


class ConversionRecord(CacheRecord):
    """Of a conversion of a model before any pass: the rows that say it is right."""

    rows: tuple[ParityRow, ...]

    @model_validator(mode="after")
    def _is_right(self) -> ConversionRecord:
        if not self.rows or any(
            row.verdict == "failed" or row.question != "unrounded" for row in self.rows
        ):
            raise ValueError("its rows do not say that it is right")
        return self


Kind = TypeVar("Kind", bound=CacheRecord)


def read(kind: type[Kind], path: Path) -> Kind:
    """A record of ours; BadRecord for one that is damaged, another's, moved here, or not there."""
    file = DataFile("the cache's record", str(path), BadRecord)
    record = parse(kind, read_text(path, file), file)
    if not signature.is_ours(record.signature or "", _place(path), content_of(record)):
        raise file.refuse("it was not written here", "signature")
    return record


def parse(kind: type[Kind], text: str, file: DataFile) -> Kind:
    """What a record says, whoever wrote it. Raises BadRecord."""
    return validated(kind, json_object(text, file), file)


def write(path: Path, record: CacheRecord) -> None:
    """Signs a record and keeps it. Raises CannotWrite."""
    content = content_of(record)
    signed = {**content, "signature": signature.signature(_place(path), content)}
    write_whole(path, json.dumps(signed, indent=1))


def _place(path: Path) -> str:
    """Where a record lies in the cache: requests/<digest>.json."""
    return "/".join(path.parts[-2:])


def object_place(key: str) -> str:
    """Where the record of an object lies in every cache: what its signature is of."""
    return f"objects/{key}.json"


def content_of(record: CacheRecord) -> dict[str, object]:
    """What a record says, without who says it."""
    return record.model_dump(mode="json", exclude={"signature"})
