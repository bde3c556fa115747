"""What `mlship bench` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.measure.units import ms_text
from toolchain.bench.against import Change
from toolchain.bench.run import BenchRow, BenchRun
from toolchain.report import plain, terminal
from toolchain.report.build_table import show_unbuilt

if TYPE_CHECKING:
    from rich.table import Table

MOST_LAYERS = 10


def show(ran: BenchRun, changes: Sequence[Change]) -> None:
    """Rows, the slowest layers where they were timed, what got slower, and what did not run."""
    timed = [row for row in ran.rows if row.times]
    if timed:
        terminal.show(_table(ran, timed))
    for row in timed:
        if row.times and row.times.layers:
            terminal.show(_layers(row))
    for row in ran.rows:
        if row.skipped:
            plain.say(f"skipped: {row.key}: {row.skipped}")
        if row.failed:
            plain.say(f"{row.key} does not run: {row.failed}", fg="red", err=True)
    for change in changes:
        plain.say(str(change), fg="red" if change.worse else None, err=change.worse)
    show_unbuilt(ran.unbuilt)


def _table(ran: BenchRun, rows: Sequence[BenchRow]) -> Table:
    roofs = [session.roof for session in ran.sessions if session.roof]
    right = ("median ms", "95 % of it", "p90", "first", "load", "runs", "memory", "of peak")
    made = terminal.table(str(ran.machine), "file", "runtime", *right, right=right)
    name = ""
    for row in rows:
        made.add_row("" if row.subject == name else row.subject, *_cells(row))
        name = row.subject
    if roofs:
        roof = roofs[0]
        made.caption_justify = "left"
        made.caption = (
            f"{ran.mode} mode; peak: {roof.gmacs_single:.0f} GMAC/s on one thread, "
            f"{roof.gmacs:.0f} on all, {roof.gigabytes:.0f} GB/s; memory: the process at its "
            "most, and how much of it came with the file"
        )
        for device in dict.fromkeys(row.times.device for row in rows if row.times):
            made.caption += f"\nphone: {device}" if device else ""
    return made


def _cells(row: BenchRow) -> tuple[str, ...]:
    times = row.times
    assert times is not None
    low, high = times.interval
    own = "" if times.own_memory is None else f" (+{times.own_memory / 1e6:.0f})"
    return (
        row.runtime.name,
        ms_text(times.median),
        f"{ms_text(low)} to {ms_text(high)}",
        ms_text(times.p90),
        f"{times.first:.1f}",
        f"{times.load:.0f}",
        str(len(times.runs)),
        f"{times.peak / 1e6:.0f} MB{own}",
        "-" if row.roof is None else f"{row.roof:.0%}",
    )


def _layers(row: BenchRow) -> Table:
    assert row.times is not None
    layers = sorted(row.times.layers.items(), key=lambda item: -item[1])
    total = sum(row.times.layers.values())
    title = f"{row.key}: the {min(MOST_LAYERS, len(layers))} of {len(layers)} layers that take most"
    made = terminal.table(title, "layer", "ms", "share", right=("ms", "share"))
    for name, ms in layers[:MOST_LAYERS]:
        made.add_row(name, f"{ms:.3f}", f"{ms / total:.1%}")
    return made
