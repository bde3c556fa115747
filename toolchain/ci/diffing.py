"""`mlship diff A B`: any two bundles, baselines or reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.measure.timing.session import MODES
from converters.progress import Say
from model_defs.errors import BadBundle, BadRecord
from toolchain.bundle import bundle as bundles
from toolchain.bundle.bundle import Bundle
from toolchain.ci import latency, state
from toolchain.ci.differences import Difference, difference
from toolchain.ci.measure import measured


def between(before: Path, after: Path, *, timed: bool, say: Say) -> list[Difference]:
    """A difference for two bundles, or for each bundle that two reports share.

    Raises BadRecord for a path that is not there, for a bundle and a report, and for reports that
    share nothing.
    """
    if before.is_dir() != after.is_dir():
        for path in (before, after):
            if not path.exists():
                raise BadRecord("this does not exist", where=str(path), do="name one that does")
        what = "a bundle and a report cannot be compared"
        raise BadRecord(what, where=f"{before}, {after}", do="pass two of a kind")
    if before.is_dir():
        return [_of_bundles(bundles.read(before), bundles.read(after), timed, say)]
    old, new = state.read(before), state.read(after)
    shared = [name for name in new.bundles if name in old.bundles]
    if not shared:
        raise BadRecord("they have no bundle in common", where=f"{before}, {after}")
    return [difference(old.bundles[name], new.bundles[name]) for name in shared]


def _of_bundles(old: Bundle, new: Bundle, timed: bool, say: Say) -> Difference:
    first, second = _measured(old), _measured(new)
    if not timed:
        return difference(first, second)
    if old.artifact.format != new.artifact.format:
        raise BadBundle("two formats are not timed side by side", do="leave --time away")
    here = latency.MachinePair("", "")
    sides = [
        latency.TimedBundle(found, replace(one, bundle=str(found.directory)), None, float("inf"))
        for found, one in ((old, first), (new, second))
    ]
    ran = latency.time_all(sides, here, MODES["quick"], again=True, say=say)
    names = (first.bundle, second.bundle)
    a, b = (replace(r.measured, bundle=n) for r, n in zip(ran, names, strict=True))
    return difference(a, b)


def _measured(found: Bundle) -> state.BundleFigures:
    return measured(found, found.report)
