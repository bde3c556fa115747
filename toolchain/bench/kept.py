"""What `mlship bench --save` keeps, as it is read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from model_defs.errors import BadRecord
from toolchain.bench.run import SCHEMA, key_of
from toolchain.bundle.reading import (
    DataFile,
    StrictModel,
    json_object,
    read_text,
    upgraded,
    validated,
)

REMEDY = "keep them again, on this machine: mlship bench ... --save FILE"
Positive = Annotated[float, Field(gt=0)]
Milliseconds = Annotated[float, Field(ge=0)]
Bytes = Annotated[int, Field(ge=0)]


class KeptMachine(StrictModel):
    """The machine that latencies are of."""

    processor: str
    memory: int
    system: str
    versions: Mapping[str, str]
    fingerprint: str


class KeptPeak(StrictModel):
    """What the machine could do in one session."""

    gmacs_1_thread: Positive
    gmacs: Positive
    gigabytes_per_second: Positive


class KeptRow(StrictModel):
    """One file on one runtime; what is not set was not measured."""

    subject: str
    runtime: str
    reference: bool
    median_ms: Milliseconds | None = None
    p90_ms: Milliseconds | None = None
    interval_ms: tuple[Milliseconds, Milliseconds] | None = None
    load_ms: Milliseconds | None = None
    first_ms: Milliseconds | None = None
    runs: Bytes | None = None
    threads: Bytes | None = None
    blocks_ms: tuple[Positive, ...] = ()
    peak_bytes: Bytes | None = None
    own_bytes: Bytes | None = None
    device: str = ""
    layers_ms: Mapping[str, Milliseconds] = {}
    share_of_peak: float | None
    skipped: str
    failed: str

    @property
    def key(self) -> tuple[str, str]:
        """A file on a runtime, and the phone: another phone's times are not compared."""
        return key_of(self.subject, self.runtime), self.device


class KeptRun(StrictModel):
    """A run that was kept."""

    version: Literal[1] = Field(default=1, alias="schema")
    machine: KeptMachine
    mode: str
    peaks: tuple[KeptPeak, ...]
    rows: tuple[KeptRow, ...]


def read(path: Path) -> KeptRun:
    """A kept run; BadRecord for what is none."""
    file = DataFile("what mlship bench kept", str(path), BadRecord, REMEDY)
    return validated(
        KeptRun, upgraded(json_object(read_text(path, file), file), SCHEMA, {}, file), file
    )
