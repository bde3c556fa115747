"""A job: work that any process with the same mlship can do, and what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from toolchain.build.cache import environment

Json = Any
"""What JSON holds: all that passes between a driver and those who work for it."""

WORK: Mapping[str, str] = {
    "cell": "toolchain.sweep.cell:work",
    "train": "toolchain.sweep.train:work",
    "ship": "toolchain.sweep.ship:work",
    "sensitivity": "toolchain.search.spread:measure_part",
    "choices": "toolchain.search.spread:choose_part",
    "prune": "toolchain.search.spread:prune_work",
    "examples": "toolchain.search.spread:draw_part",
    "rehearsal": "toolchain.cluster.work:rehearse",
}
"""What a job may ask for, and where that is: nothing else is imported because a job names it."""


@dataclass(frozen=True)
class Job:
    """A kind of WORK with its arguments, which are JSON; `name` is what people call it.

    `memory` are the bytes that it may need, 0 where it is like the others. `keep`: what comes of it
    is kept in the cache, and it is not done again.
    """

    name: str
    kind: str
    arguments: Mapping[str, Json] = field(hash=False)
    memory: int = 0
    keep: bool = True

    @cached_property
    def key(self) -> str:
        """A digest of what is asked for, of our source and of the installed packages."""
        parts = [self.kind, self.arguments, environment()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Failure:
    """Why a job has no value, as an MlshipError says it."""

    kind: str
    what: str
    where: str = ""
    do: str = ""
    exit_code: int = 4

    @property
    def lasting(self) -> bool:
        """Whether the job would fail again: what was asked for is at fault, not who was asked."""
        return self.exit_code in (1, 2)

    def __str__(self) -> str:
        return self.what + (f" ({self.where})" if self.where else "")


@dataclass(frozen=True)
class JobOutcome:
    """What came of a job: its value or a failure; the files that it read with their digests.

    `seconds` are its own, `worker` is who did it, `log` what was said meanwhile. `kept`: it was
    done before.
    """

    value: Json = None
    failure: Failure | None = None
    inputs: Mapping[str, str] = field(default_factory=dict, hash=False)
    seconds: float = 0.0
    worker: str = ""
    log: str = ""
    kept: bool = False
