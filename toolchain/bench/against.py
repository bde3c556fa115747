"""Latencies that were kept, and whether those of today are worse."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure.significance import FEWEST, Comparison, compare
from benchmarks.measure.units import ms_text
from model_defs.errors import BadRecord
from toolchain.bench.run import SCHEMA, BenchRun, key_of
from toolchain.bundle.files import write_whole

REMEDY = "keep them again, on this machine: mlship bench ... --save FILE"


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


def load(path: Path) -> dict[str, Any]:
    """A kept run; BadRecord for what is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA:
            raise BadRecord(f"schema {found['schema']}, not {SCHEMA}", where=str(path), do=REMEDY)
        for row in found["rows"]:
            _ = row["subject"], row["runtime"]
        _ = found["machine"]["fingerprint"], found["machine"]["processor"], found["peaks"]
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        what = f"these are no latencies that mlship bench kept: {error}"
        raise BadRecord(what, where=str(path), do=REMEDY) from error
    return dict(found)


def changes(kept: Mapping[str, Any], ran: BenchRun, limit: float, path: Path) -> dict[str, Change]:
    """What became of each row that both runs have, by its key; BadRecord where nobody can say.

    A machine that is slower today than it was then is taken out: the product of matrices of
    both runs says by how much, and what is worse only before that or only after is not worse.
    """
    if kept["machine"]["fingerprint"] != ran.machine.fingerprint:
        raise BadRecord(
            f"those latencies are of another machine: {kept['machine']['processor']} "
            f"({kept['machine']['fingerprint']}), and this is {ran.machine}",
            where=str(path),
            do=REMEDY,
        )
    now = {(row.key, row.times.device): row.times.blocks for row in ran.rows if row.times}
    then = {_key(row): row.get("blocks_ms", ()) for row in kept["rows"]}
    shared = [key for key in then if key in now and len(then[key]) >= FEWEST]
    if not shared:
        raise BadRecord("nothing was timed both then and now", where=str(path), do=REMEDY)
    drift = _peak(kept) / _peak(ran.to_json())
    return {
        name: _change(name, then[name, device], now[name, device], 1 if device else drift, limit)
        for name, device in shared
    }


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    """A file on a runtime, and the phone: another phone's times are not compared."""
    return key_of(row["subject"], row["runtime"]), row.get("device", "")


def _peak(run: Mapping[str, Any]) -> float:
    return statistics.median(peak["gmacs_1_thread"] for peak in run["peaks"])


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
