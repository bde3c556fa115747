"""Who does jobs: this process, one after the other, or the workers of a Dask cluster."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from converters.progress import Say, silent
from toolchain.bundle.files import write_whole
from toolchain.cluster import kept, work
from toolchain.cluster.job import Job, JobOutcome

Finished = tuple[Job, JobOutcome]


class Pool(Protocol):
    """Does jobs that were not done before, and gives them as they end."""

    @property
    def slots(self) -> int:
        """Jobs that it does at a time."""

    @property
    def address(self) -> str:
        """Where one can look at it with a browser; "" where one cannot."""

    def each(self, jobs: Iterable[Job]) -> Iterator[Finished]:
        """Each job with what came of it, in the order in which they end."""


@dataclass(frozen=True)
class SerialPool:
    """This process does the jobs, in their order."""

    slots: int = 1
    address: str = ""

    def each(self, jobs: Iterable[Job]) -> Iterator[Finished]:
        for job in jobs:
            yield job, work.do(job)


@dataclass
class Run:
    """Jobs of one purpose, of which it is said how many are done.

    What a job says is kept in `logs`, a file each, where that is a folder.
    """

    pool: Pool
    title: str
    say: Say = silent
    logs: Path | None = None
    clock: Callable[[], float] = time.monotonic
    done: int = field(default=0, init=False)

    def each(
        self, jobs: Iterable[Job], is_there: Callable[[JobOutcome], bool] = lambda outcome: True
    ) -> Iterator[Finished]:
        """Each job with what came of it: at once what came of it before, then as they end.

        `is_there` says whether what came of one before can be used still.
        """
        asked = list({job.key: job for job in jobs}.values())
        todo = []
        for job in asked:
            known = kept.find(job)
            if known is None or not is_there(known):
                todo.append(job)
            else:
                yield job, known
        before, begun = len(asked) - len(todo), self.clock()
        self.say(self.title, _progress(before, len(asked), None))
        for count, (job, outcome) in enumerate(self.pool.each(todo), 1):
            kept.store(job, outcome)
            if self.logs is not None:
                self._write_log(job, outcome)
            left = (self.clock() - begun) / count * (len(todo) - count)
            self.say(self.title, _progress(before + count, len(asked), left))
            yield job, outcome
        self.say(self.title, "")

    def _write_log(self, job: Job, outcome: JobOutcome) -> None:
        assert self.logs is not None
        name = re.sub(r"[^\w.,=+-]+", "_", job.name)[:80]
        end = f"failed: {outcome.failure}" if outcome.failure else "done"
        text = f"{job.name}\non {outcome.worker}\n{outcome.log}\n{outcome.seconds:8.1f} s  {end}\n"
        write_whole(self.logs / f"{name}-{job.key[:8]}.log", text)


def _progress(done: int, total: int, left: float | None) -> str:
    """`37 of 120, about 12 min left`."""
    text = f"{done} of {total}"
    if left is None or done == total:
        return text
    return (
        f"{text}, about {left:.0f} s left"
        if left < 100
        else f"{text}, about {left / 60:.0f} min left"
    )
