"""Successive halving (Jamieson and Talwalkar 2016): of variants that are poor, none trains on.

All are trained to a rung and compared; the best of them go on to the next. The rungs are waited
for, so that what goes on does not depend on who was quicker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from toolchain.cluster.job import Failure, Json
from toolchain.cluster.pool import Run
from toolchain.sweep import train
from toolchain.sweep.row import Row

Hear = Callable[[Row], None]


def trained(
    rows: Sequence[Row], rungs: Sequence[int], factor: int, run: Run, hear: Hear
) -> tuple[list[Row], dict[int, Json]]:
    """The rows, each trained as far as it came; and what came of those that reached the end.

    `hear` is called with each row that ended before.
    """
    done: dict[int, Row] = {row.number: row for row in rows}
    reached: dict[int, Json] = {}
    going = [*rows]
    for index, until in enumerate(rungs):
        going = _rung(going, until, reached, run, done, hear)
        if index + 1 == len(rungs):
            break
        best = _best(going, factor)
        for row in going:
            if row.variant.key not in best:
                done[row.number] = replace(row, stopped=True)
                reached.pop(row.number)
                hear(done[row.number])
        going = [row for row in going if row.variant.key in best]
    return [done[row.number] for row in rows], reached


def _best(rows: Sequence[Row], factor: int) -> set[str]:
    """The trainings that go on: one of `factor`. Variants of other recipes are the same one."""
    scores = {row.variant.key: row.trained for row in rows if row.trained is not None}
    ranked = sorted(scores, key=lambda key: -scores[key])
    return set(ranked[: math.ceil(len(ranked) / factor)])


def _rung(
    going: Sequence[Row],
    until: int,
    reached: dict[int, Json],
    run: Run,
    done: dict[int, Row],
    hear: Hear,
) -> list[Row]:
    """Those that were trained to a rung; `reached` has what came of it, `done` each row."""
    jobs = {row.number: train.job(row.variant, until, reached.get(row.number)) for row in going}
    outcomes = {job.key: outcome for job, outcome in run.each(jobs.values())}
    left = []
    for row in going:
        outcome = outcomes[jobs[row.number].key]
        seconds = row.seconds + outcome.seconds
        if outcome.failure is not None:
            done[row.number] = _failed(row, outcome.failure, seconds)
            reached.pop(row.number, None)
            hear(done[row.number])
            continue
        value: Mapping[str, Json] = outcome.value
        curve = tuple((step, score) for step, score in value["curve"])
        found = replace(row, steps=until, trained=value["score"], curve=curve, seconds=seconds)
        done[row.number], reached[row.number] = found, value
        left.append(found)
    return left


def _failed(row: Row, failure: Failure, seconds: float) -> Row:
    return replace(row, failed=str(failure), seconds=seconds)
