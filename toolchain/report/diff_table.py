"""What `mlship diff` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.measure import machine
from benchmarks.measure.budgets import LIMITS
from toolchain.ci.differences import Difference
from toolchain.report import plain, terminal
from toolchain.report.ci_text import MOST_LAYERS, side, tables

if TYPE_CHECKING:
    from rich.table import Table


def show(found: Sequence[Difference]) -> None:
    """Figures that differ, and the layers; or that nothing does."""
    terminal.show(terminal.styled((str(machine.this()), "dim")))
    for one in found:
        if one.before is not None and one.before.artifact == one.after.artifact:
            plain.say(f"{one.after.bundle}: the same artifact, byte for byte")
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
        old, new = str(getattr(one.before, name)), str(getattr(one.after, name))
        if old != new:
            made.add_row(name, _short(old), _short(new), "")
    return made


def _short(text: str) -> str:
    return text if len(text) < 40 else f"{text[:36]}…"


def _layers(one: Difference) -> list[Table]:
    made = []
    for title, what, changes in tables(one):
        right = ("before", "after")
        layer_table = terminal.table(title, "layer", *right, right=right)
        for change in changes[:MOST_LAYERS]:
            layer_table.add_row(change.name, side(change.before, what), side(change.after, what))
        if len(changes) > MOST_LAYERS:
            more = f"{len(changes) - MOST_LAYERS} more"
            layer_table.add_row(terminal.styled((more, "dim")), "", "")
        made.append(layer_table)
    return made
