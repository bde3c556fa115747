"""`mlship sweep`: variants are proposed, trained, built, timed, and one of them is picked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.measure.timing.process import TimedFile
from benchmarks.measure.timing.runtimes import of_format
from benchmarks.measure.timing.session import MODES, Mode, measure
from converters.progress import Say, silent
from model_defs.errors import BackendUnavailable, BadConfig
from toolchain.cluster.pool import Pool, Run
from toolchain.sweep import choice, halving, ship
from toolchain.sweep.propose import Varied, proposer
from toolchain.sweep.row import Row, TargetFigures
from toolchain.sweep.sweep_file import SweepFile
from toolchain.sweep.table import Table
from toolchain.sweep.variant import Variant

TOGETHER = 12
"""Files that are timed side by side: each is in a process of its own."""


@dataclass(frozen=True)
class Swept:
    """All rows, which one was picked, and what was timed on which machine."""

    sweep: SweepFile
    rows: tuple[Row, ...]
    metric: str
    machine: str

    @property
    def pick(self) -> Row | None:
        return choice.picked(self.rows, self.sweep.pick)

    @property
    def effects(self) -> list[choice.MainEffect]:
        return choice.effects(self.rows, self.sweep)

    @property
    def exit_code(self) -> int:
        """1 where nothing could be picked."""
        return 0 if self.pick is not None else 1

    def to_json(self) -> dict[str, Any]:
        pick = self.pick
        return {
            "task": self.sweep.task,
            "metric": self.metric,
            "machine": self.machine,
            "rule": choice.rule_text(self.sweep.pick),
            "pick": pick.number if pick else None,
            "front": [row.number for row in choice.front(self.rows, ("score", "bytes"))],
            "effects": [
                {
                    "choice": effect.choice,
                    "figure": effect.figure,
                    "worth": effect.worth,
                    "share": round(effect.share, 4),
                    "means": {name: mean for name, (mean, _) in effect.means.items()},
                }
                for effect in self.effects
            ],
            "variants": [row.to_json(self.machine) for row in self.rows],
        }


def sweep(
    wanted: SweepFile,
    pool: Pool,
    table: Table,
    *,
    logs: Path | None = None,
    say: Say = silent,
    mode: Mode = MODES["quick"],
) -> Swept:
    """Tries all variants; a row is in the `table` as soon as nothing more comes of its variant.

    What was done before, by a sweep that was killed, is taken from the cache. Raises what a
    variant's arguments raise where all of them are wrong.
    """
    asking = proposer(wanted)
    found: list[Row] = []
    metric = ""
    while batch := asking.ask():
        fresh = [
            Row(len(found) + n, Variant.of(wanted, varied)) for n, varied in enumerate(batch, 1)
        ]
        check_arguments(wanted, batch)
        run = Run(pool, "variants", say, logs)
        factor = wanted.halving.factor if wanted.halving else 1
        done, reached = halving.trained(fresh, wanted.rungs, factor, run, table.add)
        metric = metric or next((value["metric"] for value in reached.values()), "")
        built = _built(done, reached, wanted, Run(pool, "builds", say, logs))
        if wanted.time:
            built = timed(built, mode, say)
        for row in built:
            if not row.stopped and not row.failed:
                table.add(row)
        found += built
        asking.tell([row.figures or None for row in built])
    return Swept(wanted, tuple(found), metric, table.machine)


def check_arguments(wanted: SweepFile, batch: Sequence[Varied]) -> None:
    """UnknownName for a name that no variant can have; a value is the variant's own fault."""
    for name in {name for varied in batch for name in varied}:
        first = next(varied for varied in batch if name in varied)
        with suppress(BadConfig):
            Variant.of(wanted, first).load()


def _built(
    rows: Sequence[Row], reached: Mapping[int, Any], wanted: SweepFile, run: Run
) -> list[Row]:
    """The rows with what was built of those that were trained to the end."""
    jobs = {
        row.number: ship.job(row.variant, reached[row.number], wanted.targets, wanted.scenes)
        for row in rows
        if row.number in reached
    }
    outcomes = {job.key: outcome for job, outcome in run.each(jobs.values(), ship.is_there)}
    made = []
    for row in rows:
        if row.number not in jobs:
            made.append(row)
            continue
        outcome = outcomes[jobs[row.number].key]
        seconds = row.seconds + outcome.seconds
        if outcome.failure is not None:
            made.append(replace(row, failed=str(outcome.failure), seconds=seconds))
            continue
        value = outcome.value
        targets = {name: _figures(found) for name, found in value["targets"].items()}
        own = next((f for f in value["targets"].values() if "macs" in f), value)
        counts = {key: own[key] for key in ("macs", "parameters")}
        made.append(replace(row, targets=targets, seconds=seconds, **counts))
    return made


def _figures(found: Mapping[str, Any]) -> TargetFigures:
    if not found["ok"]:
        return TargetFigures(False, problem=found["problem"])
    return TargetFigures(True, found["bytes"], found["score"], found["object"])


def timed(rows: Sequence[Row], mode: Mode, say: Say) -> list[Row]:
    """The rows with the milliseconds of each file, side by side with others of its target.

    On its format's first runtime that this machine has; a file of none has no time. Files that are
    the same are timed once.
    """
    files: dict[str, dict[str, TimedFile]] = {}
    for row in rows:
        for target, found in row.targets.items():
            entry = _entry(found)
            if entry is not None:
                files.setdefault(target, {})[found.object] = entry
    times: dict[str, tuple[float, tuple[float, float]]] = {}
    for entries in files.values():
        names = [*entries]
        for first in range(0, len(names), TOGETHER):
            part = {name: entries[name] for name in names[first : first + TOGETHER]}
            session = measure(part, mode, say=say)
            times |= {name: (t.median, t.interval) for name, t in session.times.items()}
    return [
        replace(row, targets={n: _timed(f, times) for n, f in row.targets.items()}) for row in rows
    ]


def _timed(
    found: TargetFigures, times: Mapping[str, tuple[float, tuple[float, float]]]
) -> TargetFigures:
    if found.object not in times:
        return found
    ms, (low, high) = times[found.object]
    return replace(found, ms=round(ms, 4), interval=(round(low, 4), round(high, 4)))


def _entry(found: TargetFigures) -> TimedFile | None:
    bundle = ship.bundle_of({"object": found.object}) if found.object else None
    if bundle is None:
        return None
    for runtime in of_format(bundle.artifact.format):
        try:
            runtime.look()
        except BackendUnavailable:
            continue
        return TimedFile(runtime, bundle.artifact.path)
    return None
