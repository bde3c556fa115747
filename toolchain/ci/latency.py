"""Latencies of a model's bundles beside those of a baseline, and whether they are worse.

Where the baseline's file is still in the cache, both files are timed side by side. Else the
baseline's own milliseconds stand for it, on the same machine only.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.measure.significance import FEWEST, compare, confirmed
from benchmarks.measure.timing.process import TimedFile
from benchmarks.measure.timing.runtimes import main_of
from benchmarks.measure.timing.session import Mode, measure_beside_peaks
from benchmarks.measure.timing.times import Session
from converters.progress import Say
from model_defs.errors import BackendUnavailable
from toolchain.bench.against import slower
from toolchain.build import cache
from toolchain.bundle.bundle import Bundle
from toolchain.ci.state import BundleFigures, artifact_digest
from toolchain.ci.verdicts import Cause


@dataclass(frozen=True)
class Latency:
    """What is known of one bundle. `worse`: by more than its limit, and not by chance.

    `ratio` over the baseline is None where there is none; `cause` and `why` then say why, and
    otherwise `why` says how it was found. `before` is the baseline, with what its file takes
    today where that could be timed again.
    """

    measured: BundleFigures
    ratio: float | None = None
    p: float = 1.0
    worse: bool = False
    cause: Cause = ""
    why: str = ""
    before: BundleFigures | None = None


@dataclass(frozen=True)
class TimedBundle:
    """A bundle to time, the baseline's figures of it, and the ratio that is too much."""

    bundle: Bundle
    measured: BundleFigures
    before: BundleFigures | None
    limit: float


@dataclass(frozen=True)
class MachinePair:
    """This machine's fingerprint and the one that the baseline is of."""

    now: str
    then: str

    @property
    def same(self) -> bool:
        return self.now == self.then


def time_all(
    subjects: Sequence[TimedBundle], machine: MachinePair, mode: Mode, *, again: bool, say: Say
) -> list[Latency]:
    """Time one model's bundles together. `again`: also those that have not changed."""
    unchanged = [s for s in subjects if not again and _is_known(s, machine)]
    fresh = [s for s in subjects if s not in unchanged]
    known = {s.measured.bundle: _known(s) for s in unchanged}

    def once_more(names: list[str]) -> dict[str, Latency]:
        say(", ".join(names), "timing again what seems slower")
        return _timed([s for s in fresh if s.measured.bundle in names], machine, mode, say)

    found = known | confirmed(_timed(fresh, machine, mode, say), once_more)
    return [found[s.measured.bundle] for s in subjects]


def _is_known(subject: TimedBundle, machine: MachinePair) -> bool:
    """Whether the baseline has timed this very file on this very machine."""
    before = subject.before
    same = before is not None and before.artifact == subject.measured.artifact
    return same and machine.same and before is not None and len(before.blocks) >= FEWEST


def _known(subject: TimedBundle) -> Latency:
    before = subject.before
    assert before is not None
    figures = {k: v for k, v in before.figures.items() if k in ("latency", "first_run", "memory")}
    new = replace(
        subject.measured,
        figures={**subject.measured.figures, **figures},
        layer_ms=before.layer_ms,
        runtime=before.runtime,
        blocks=before.blocks,
        peak=before.peak,
    )
    why = "the same file on the same machine: not timed again"
    return Latency(new, ratio=1.0, why=why, before=before)


def _timed(
    subjects: Sequence[TimedBundle], machine: MachinePair, mode: Mode, say: Say
) -> dict[str, Latency]:
    """One session, by bundles; the baseline's files are in it where they can be found."""
    entries: dict[str, TimedFile] = {}
    absent: dict[str, str] = {}
    for subject in subjects:
        name = subject.measured.bundle
        try:
            entries[name] = _entry(subject.bundle)
        except BackendUnavailable as error:
            absent[name] = error.what
            continue
        if subject.before is not None:
            old = find_artifact(subject.before.artifact)
            if old is not None:
                entries[_before(name)] = _entry(old)
    session = measure_beside_peaks(entries, mode, layers=[*entries], say=say)
    failed = absent | dict(session.failed)
    return {s.measured.bundle: _latency(s, session, failed, machine) for s in subjects}


def _before(name: str) -> str:
    return f"{name}, baseline"


def _entry(bundle: Bundle) -> TimedFile:
    return TimedFile(main_of(bundle.artifact.format), bundle.artifact.path)


def _latency(
    subject: TimedBundle, session: Session, failed: Mapping[str, str], machine: MachinePair
) -> Latency:
    name, before = subject.measured.bundle, subject.before
    if name in failed:
        return Latency(subject.measured, cause="not-measured", why=failed[name], before=before)
    runtime = _entry(subject.bundle).runtime.name
    new = replace(_with_times(subject.measured, session, name), runtime=runtime)
    if before is None:
        return Latency(new, cause="no-baseline", why="the baseline does not have it")
    if _before(name) in session.times:
        old = replace(_with_times(before, session, _before(name)), runtime=runtime)
        found = compare(old.blocks, new.blocks)
        worse = found.worse(subject.limit)
        how = "timed side by side with the baseline's file"
        return Latency(new, found.ratio, found.p, worse, why=how, before=old)
    if not machine.same:
        why = "the baseline is of another machine, its file not in the cache"
        return Latency(new, cause="other-machine", why=why, before=before)
    if len(before.blocks) < FEWEST or before.runtime != new.runtime:
        why = "the baseline has no latency on this runtime"
        return Latency(new, cause="no-baseline", why=why, before=before)
    found = compare(before.blocks, new.blocks)
    drift = before.peak / new.peak
    worse = slower(before.blocks, new.blocks, drift, subject.limit)
    how = "against the baseline's own milliseconds"
    return Latency(new, found.ratio, found.p, worse, why=how, before=before)


def _with_times(known: BundleFigures, session: Session, name: str) -> BundleFigures:
    """The same bundle with what it took in a session."""
    times, roof = session.times[name], session.roof
    latency = statistics.median(times.blocks)
    figures = {"latency": latency, "first_run": times.first, "memory": float(times.peak)}
    return replace(
        known,
        figures={**known.figures, **figures},
        layer_ms=dict(times.layers),
        blocks=times.blocks,
        peak=roof.gmacs_single if roof else 0.0,
    )


def find_artifact(digest: str) -> Bundle | None:
    """A bundle in the cache that holds the artifact of this digest, verified and ours; or none."""
    return cache.find_object(lambda one: artifact_digest(one) == digest)
