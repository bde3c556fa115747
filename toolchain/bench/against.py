"""Latencies that were kept, and whether those of today are worse."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure.significance import FEWEST, Comparison, compare
from benchmarks.measure.units import ms_text
from model_defs.errors import BadRecord
from toolchain.bench.kept import REMEDY, KeptRun
from toolchain.bench.run import BenchRun
from toolchain.bundle.files import write_whole


@dataclass(frozen=True)
class Change:
    """One file on one runtime, then and now; `p` is the chance that nothing changed."""

    key: str
    before: float
    after: float
    ratio: float
    p: float
    worse: bool

    def __str__(self) -> str:
        said = "slower" if self.worse else "not slower"
        times = f"{ms_text(self.before)} ms to {ms_text(self.after)} ms, {self.ratio:.2f} times"
        return f"{self.key}: {said}: {times}, p = {self.p:.2g}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def save(path: Path, ran: BenchRun) -> None:
    """Keep a run in a file. Raises CannotWrite."""
    write_whole(path, json.dumps(ran.to_json(), indent=1) + "\n")


def changes(kept: KeptRun, ran: BenchRun, limit: float, path: Path) -> dict[str, Change]:
    """What became of each row that both runs have, by its key; BadRecord where nobody can say.

    A machine that is slower today than it was then is taken out: the product of matrices of
    both runs says by how much, and what is worse only before that or only after is not worse.
    """
    if kept.machine.fingerprint != ran.machine.fingerprint:
        raise BadRecord(
            f"those latencies are of another machine: {kept.machine.processor} "
            f"({kept.machine.fingerprint}), and this is {ran.machine}",
            where=str(path),
            do=REMEDY,
        )
    now = {(row.key, row.times.device): row.times.blocks for row in ran.rows if row.times}
    then = {row.key: row.blocks_ms for row in kept.rows}
    shared = [key for key in then if key in now and len(then[key]) >= FEWEST]
    if not shared or not kept.peaks:
        raise BadRecord("nothing was timed both then and now", where=str(path), do=REMEDY)
    drift = _peak(peak.gmacs_1_thread for peak in kept.peaks) / _peak(
        session.roof.gmacs_single for session in ran.sessions if session.roof
    )
    return {
        name: _change(name, then[name, device], now[name, device], 1 if device else drift, limit)
        for name, device in shared
    }


def _peak(gmacs: Iterable[float]) -> float:
    return statistics.median(gmacs)


def _change(
    key: str, then: Sequence[float], now: Sequence[float], drift: float, limit: float
) -> Change:
    found = compare(then, now)
    worse = slower(then, now, drift, limit)
    before, after = statistics.median(then), statistics.median(now)
    return Change(key, before, after, found.ratio, found.p, worse)


def slower(then: Sequence[float], now: Sequence[float], drift: float, limit: float) -> bool:
    """Whether it is worse both as it is and with the machine's own slowing taken out."""
    both: tuple[Comparison, Comparison] = (
        compare(then, now),
        compare([ms * drift for ms in then], now),
    )
    return all(one.worse(limit) for one in both)
