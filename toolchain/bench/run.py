"""The whole of `mlship bench`: find, time side by side, keep or compare, print."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure.machine import Machine, this
from benchmarks.measure.timing.process import TimedFile
from benchmarks.measure.timing.runtime import Runtime
from benchmarks.measure.timing.runtimes import RUNTIMES, of_format
from benchmarks.measure.timing.session import Mode, measure_beside_peaks
from benchmarks.measure.timing.times import Session, Times
from converters.contents import disk_bytes
from converters.processes import scratch
from converters.progress import Say, silent
from model_defs.errors import BackendUnavailable, MlshipError, UnknownName, worst_code
from toolchain.build.on_demand import Named, Wanted, find
from toolchain.build.request import Built
from toolchain.parity.subject import Subject

if TYPE_CHECKING:
    from converters.api import Program

SCHEMA = 1


def key_of(subject: str, runtime: str) -> str:
    """What a file on a runtime is called."""
    return f"{subject}/{runtime}"


@dataclass(frozen=True)
class BenchRow:
    """One file on one runtime. `roof` is the share of the machine's measured peak that it reaches.

    `skipped` says why it was not timed, `failed` why it could not be.
    """

    subject: str
    runtime: Runtime
    times: Times | None = None
    roof: float | None = None
    skipped: str = ""
    failed: str = ""

    @property
    def key(self) -> str:
        return key_of(self.subject, self.runtime.name)

    def to_json(self) -> dict[str, Any]:
        measured = self.times.to_json() if self.times else {}
        return {
            "subject": self.subject,
            "runtime": self.runtime.name,
            "reference": self.runtime.reference,
            **measured,
            "share_of_peak": None if self.roof is None else round(self.roof, 4),
            "skipped": self.skipped,
            "failed": self.failed,
        }


@dataclass(frozen=True)
class BenchRun:
    """All rows of one `mlship bench`, and what could not be built."""

    machine: Machine
    mode: str
    sessions: tuple[Session, ...]
    rows: tuple[BenchRow, ...]
    unbuilt: tuple[Built, ...]

    @property
    def exit_code(self) -> int:
        """The worst of what was not built, what does not run (1), and nothing timed at all (3)."""
        codes = [b.exit_code for b in self.unbuilt] + [1 for row in self.rows if row.failed]
        if not any(row.times for row in self.rows):
            codes.append(3)
        return worst_code(codes)

    def to_json(self) -> dict[str, Any]:
        roofs = [session.roof for session in self.sessions]
        return {
            "schema": SCHEMA,
            "machine": self.machine.to_json(),
            "mode": self.mode,
            "peaks": [roof.to_json() for roof in roofs if roof],
            "rows": [row.to_json() for row in self.rows],
        }


@dataclass(frozen=True)
class _Candidate:
    """A file on a runtime; `refused` says why there is no such file."""

    subject: str
    entry: TimedFile
    macs: int
    refused: str = ""

    @property
    def key(self) -> str:
        return key_of(self.subject, self.entry.runtime.name)


def run(
    names: Sequence[Named],
    wanted: Wanted,
    chosen: Sequence[str],
    mode: Mode,
    *,
    layers: bool = False,
    only: Collection[str] = (),
    say: Say = silent,
) -> BenchRun:
    """Time the bundles of each model together; `chosen` are runtimes, all where there is none.

    `only`: nothing but the rows with these keys, unless there are none.
    """
    for name in chosen:
        if name not in RUNTIMES:
            raise UnknownName.among("runtime", name, RUNTIMES)

    def asked(subject: str, runtime: Runtime) -> bool:
        is_chosen = not chosen or runtime.name in chosen
        return is_chosen and (not only or key_of(subject, runtime.name) in only)

    sessions: list[Session] = []
    rows: list[BenchRow] = []
    unbuilt: list[Built] = []
    with scratch.temporary() as work:
        subjects: dict[str, list[Subject]] = {}
        for found in find(names, wanted, work / "bundles", say):
            if isinstance(found, Built):
                unbuilt.append(found)
            else:
                subjects.setdefault(found.bundle.name, []).append(found)
        for name, group in subjects.items():
            candidates = list(_candidates(name, group, asked, work / "references" / name))
            session, more = _timed(candidates, mode, layers, say)
            sessions.append(session)
            rows += more
    return BenchRun(this(), mode.name, tuple(sessions), tuple(rows), tuple(unbuilt))


def _candidates(
    name: str, group: Sequence[Subject], asked: Callable[[str, Runtime], bool], work: Path
) -> Iterator[_Candidate]:
    """Each bundle on each of its runtimes, then the references, where the model is known."""
    programs = [s.program for s in group if s.program is not None]
    macs = max((s.macs for s in group), default=0)
    for subject in group:
        for runtime in of_format(subject.artifact.format):
            if asked(subject.name, runtime):
                yield _Candidate(subject.name, TimedFile(runtime, subject.artifact.path), macs)
    references = [r for f in ("onnx", "torchscript") for r in of_format(f) if asked(name, r)]
    if programs and references:
        files, refused = reference_files(programs[0], work)
        for runtime in references:
            entry, why = TimedFile(runtime, files[runtime.format]), refused.get(runtime.format)
            yield _Candidate(name, entry, macs, why.what if why else "")


def reference_files(
    program: Program, folder: Path
) -> tuple[dict[str, Path], Mapping[str, MlshipError]]:
    """What a bundle was made of, before any pass, as files that the references run.

    With them: of which there is none, and why.
    """
    from converters.export import export_each

    folder.mkdir(parents=True)
    exported = export_each(program, folder, ("torchscript", "onnx"))
    shapes = json.dumps([spec.shape for spec in exported.inputs])
    (exported.torchscript.with_name("inputs.json")).write_text(shapes, encoding="utf-8")
    return {"onnx": exported.onnx, "torchscript": exported.torchscript}, exported.refused


def _timed(
    candidates: Sequence[_Candidate], mode: Mode, layers: bool, say: Say
) -> tuple[Session, list[BenchRow]]:
    skipped: dict[str, str] = {}
    entries: dict[str, TimedFile] = {}
    for one in candidates:
        if one.refused:
            skipped[one.key] = one.refused
            continue
        try:
            one.entry.runtime.look()
        except BackendUnavailable as error:
            skipped[one.key] = f"{error.what} ({error.do})" if error.do else error.what
        else:
            entries[one.key] = one.entry
    asked = [*entries] if layers else []
    session = measure_beside_peaks(entries, mode, layers=asked, say=say)
    return session, [_row(one, session, skipped) for one in candidates]


def _row(one: _Candidate, session: Session, skipped: dict[str, str]) -> BenchRow:
    runtime, key = one.entry.runtime, one.key
    if key in skipped:
        return BenchRow(one.subject, runtime, skipped=skipped[key])
    if key in session.failed:
        return BenchRow(one.subject, runtime, failed=session.failed[key])
    times = session.times[key]
    share = None
    if session.roof and one.macs and not times.device:
        count = disk_bytes(one.entry.file)
        share = session.roof.least_ms(one.macs, count, runtime.threads) / times.median
    return BenchRow(one.subject, runtime, times, share)
