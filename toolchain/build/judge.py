"""The whole of `mlship parity`, before it is shown: find or build, judge, record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from converters.progress import Say, silent
from model_defs.errors import CannotWrite, worst_code
from toolchain.build.on_demand import Named, Wanted, each
from toolchain.build.request import Built
from toolchain.parity import harness, records
from toolchain.parity.harness import BackendChoice, Outcome
from toolchain.parity.subject import Subject


@dataclass(frozen=True)
class ParityRun:
    """What came of all that was asked for: outcomes, and what could not be built."""

    outcomes: tuple[Outcome, ...]
    unbuilt: tuple[Built, ...]

    @property
    def exit_code(self) -> int:
        """The worst of all."""
        codes = [b.exit_code for b in self.unbuilt]
        if self.outcomes:
            codes.append(harness.exit_code(o.report for o in self.outcomes))
        return worst_code(codes)


def run(
    names: Iterable[Named],
    wanted: Wanted,
    choice: BackendChoice,
    *,
    record: Path | None = None,
    against: Path | None = None,
    say: Say = silent,
) -> ParityRun:
    """Judge every model and bundle; see `harness.judge` and `records`."""
    if record is not None and not record.parent.is_dir():
        raise CannotWrite("the folder of the record does not exist", where=str(record.parent))
    known = records.load(against) if against else []

    def judged(subject: Subject) -> Outcome:
        recorded = records.runners(known, subject, against) if against else []
        return harness.judge(subject, choice, recorded, say)

    outcomes, unbuilt = each(names, wanted, judged, say)
    if record is not None:
        records.save(record, outcomes)
    return ParityRun(tuple(outcomes), tuple(unbuilt))
