"""`mlship diff A B`: any two bundles, baselines or reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.measure import machine
from benchmarks.measure.budgets import LIMITS
from benchmarks.measure.timing.session import MODES
from model_defs.errors import BadBundle, BadRecord
from toolchain.build.build import Say
from toolchain.bundle import bundle as bundles
from toolchain.bundle.bundle import Bundle
from toolchain.ci import latency, state
from toolchain.ci.differences import Difference, difference
from toolchain.ci.measure import measured
from toolchain.parity.compare import ParityReport
from toolchain.report import terminal

if TYPE_CHECKING:
    from rich.table import Table


def between(before: Path, after: Path, *, timed: bool, say: Say) -> list[Difference]:
    """A difference for two bundles, or for each bundle that two reports share.

    Raises BadRecord for a bundle and a report, and for reports that share nothing.
    """
    if before.is_dir() != after.is_dir():
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
    if old.manifest["artifact"]["format"] != new.manifest["artifact"]["format"]:
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
    return measured(found, ParityReport.from_json(found.manifest["parity"]))


def show(found: Sequence[Difference]) -> None:
    """Figures that differ, and the layers; or that nothing does."""
    terminal.show(f"[dim]{machine.this()}[/]")
    for one in found:
        if one.before is not None and one.before.artifact == one.after.artifact:
            click.echo(f"{one.after.bundle}: the same artifact, byte for byte")
        else:
            terminal.show(_figures(one), *_layers(one))


def _figures(one: Difference) -> Table:
    assert one.before is not None
    right = ("before", "after", "change")
    made = terminal.table(one.after.bundle, "figure", *right, right=right)
    for key, (before, after) in one.figures.items():
        show = LIMITS[key].unit.show
        change = f"{after / before - 1:+.1%}" if before else "-"
        made.add_row(key, show(before), show(after), change)
    for name in ("recipe", "weights"):
        old, new = getattr(one.before, name), getattr(one.after, name)
        if old != new:
            made.add_row(name, _short(old), _short(new), "")
    return made


def _short(text: str) -> str:
    return text if len(text) < 40 else f"{text[:36]}…"


def _layers(one: Difference) -> list[Table]:
    from toolchain.report.ci_text import MOST_LAYERS, side, tables

    made = []
    for title, what, changes in tables(one):
        right = ("before", "after")
        layer_table = terminal.table(title, "layer", *right, right=right)
        for change in changes[:MOST_LAYERS]:
            layer_table.add_row(change.name, side(change.before, what), side(change.after, what))
        if len(changes) > MOST_LAYERS:
            layer_table.add_row(f"[dim]{len(changes) - MOST_LAYERS} more", "", "")
        made.append(layer_table)
    return made
