"""What `mlship size` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measure.size import SPEEDS, SizeRow
from benchmarks.measure.units import bytes_text
from toolchain.bundle.bundle import Bundle
from toolchain.report import terminal

if TYPE_CHECKING:
    from rich.table import Table

MOST_LAYERS = 12


def show(rows: list[tuple[Bundle, SizeRow]]) -> None:
    """One line a bundle, then the largest layers of each."""
    right = ("disk", "on the wire", "bare numbers", "disk / bare", *SPEEDS)
    made = terminal.table("", "bundle", *right, right=right)
    for found, row in rows:
        way, count = next(iter(row.wire.items()))
        made.add_row(
            str(found.directory),
            bytes_text(row.disk),
            f"{bytes_text(count)} ({way})",
            bytes_text(row.ideal),
            f"{row.overhead:.1%}",
            *(f"{row.seconds(speed):.1f} s" for speed in SPEEDS),
        )
    terminal.show(made, *(_layers(found, row) for found, row in rows))
    for found, row in rows:
        for same in row.duplicates:
            names = ", ".join(item.name for item in same)
            wasted = bytes_text(same[0].bytes * (len(same) - 1))
            terminal.show(f"{found.directory}: {wasted} stored twice or more: {names}")


def _layers(found: Bundle, row: SizeRow) -> Table:
    kinds = ", ".join(f"{kind} {bytes_text(count)}" for kind, count in row.kinds.items())
    made = terminal.table(
        f"{found.name} for {found.target}", "layer", "bytes", "share", right=("bytes", "share")
    )
    for layer in row.layers[:MOST_LAYERS]:
        made.add_row(layer.name, bytes_text(layer.bytes), f"{layer.bytes / row.disk:.1%}")
    rest = row.layers[MOST_LAYERS:]
    if rest:
        count = sum(layer.bytes for layer in rest)
        label = terminal.styled((f"{len(rest)} more layers", "dim"))
        made.add_row(label, bytes_text(count), f"{count / row.disk:.1%}")
    made.caption, made.caption_justify = kinds, "left"
    return made
