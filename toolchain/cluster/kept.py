"""What jobs came to, kept in the cache: a sweep that was killed goes on where it was.

jobs/<key>.json     what a job came to, and the files that it read
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_defs.errors import BadRecord, CannotWrite
from toolchain.build.cache_record import CacheRecord, read, write
from toolchain.bundle.files import file_digest
from toolchain.bundle.home import cache_home
from toolchain.bundle.manifest import Digest
from toolchain.cluster.job import Failure, Job, JobOutcome


class JobRecord(CacheRecord):
    """Of a job: its value or its failure, and the digests of the files that decided it."""

    value: Any = None
    failure: Failure | None = None
    inputs: Mapping[str, Digest]
    seconds: float
    worker: str


def find(job: Job) -> JobOutcome | None:
    """What a job came to before, if none of the files that it read has changed since."""
    if not job.keep:
        return None
    try:
        record = read(JobRecord, _path(job))
        if any(file_digest(Path(path)) != digest for path, digest in record.inputs.items()):
            return None
    except (OSError, BadRecord):
        return None
    return JobOutcome(
        record.value, record.failure, record.inputs, record.seconds, record.worker, kept=True
    )


def store(job: Job, outcome: JobOutcome) -> None:
    """Keeps what a job came to, unless another try could come to more. Never an error."""
    if not job.keep or (outcome.failure is not None and not outcome.failure.lasting):
        return
    record = JobRecord(
        value=outcome.value,
        failure=outcome.failure,
        inputs=outcome.inputs,
        seconds=round(outcome.seconds, 3),
        worker=outcome.worker,
    )
    try:
        write(_path(job), record)
    except CannotWrite:
        return


def _path(job: Job) -> Path:
    return cache_home() / "jobs" / f"{job.key}.json"
