"""What `mlship sweep` prints: the variants that were built, what was picked, what mattered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure.units import bytes_text
from toolchain.report import plain, terminal
from toolchain.sweep import choice

if TYPE_CHECKING:
    from toolchain.sweep.row import Row
    from toolchain.sweep.sweep import Swept

MOST = 20
"""Variants that are shown: table.csv has all."""


def show(swept: Swept, folder: Path, chosen: Path | None) -> None:
    """Tables on standard output."""
    front = choice.front(swept.rows, ("score", "bytes"))
    pick = swept.pick
    columns = ("", "variant", "score", "size", "ms", "GMAC", "trained to")
    right = ("score", "size", "ms", "GMAC", "trained to")
    made = terminal.table(f"score: {swept.metric}", *columns, right=right)
    shown = sorted(swept.rows, key=_order)
    for row in shown[:MOST]:
        mark = "picked" if row is pick else "front" if row in front else row.status
        style = "green" if row is pick else "red" if row.failed else ""
        made.add_row(terminal.styled((mark, style)), *_cells(row))
    terminal.show(made)
    counts = {s: sum(row.status == s for row in swept.rows) for s in STATUSES}
    more = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    plain.say(f"{len(swept.rows)} variants: {more}")
    _show_effects(swept)
    for row in [row for row in swept.rows if row.failed][:MOST]:
        plain.say(f"{row.variant.name}: {row.failed}", fg="red", err=True)
    plain.say(
        f"picked: {pick.variant.name if pick else 'none'} ({choice.rule_text(swept.sweep.pick)})"
    )
    plain.say(f"all of it: {folder / 'index.html'}")
    if chosen is not None:
        plain.say((chosen / "build.txt").read_text(encoding="utf-8").strip())


STATUSES = ("shipped", "unequal", "stopped", "trained", "failed")


def _order(row: Row) -> tuple[int, float]:
    score = row.figures.get("score", row.trained if row.trained is not None else 0.0)
    return STATUSES.index(row.status), -score


def _cells(row: Row) -> tuple[str, ...]:
    found = row.figures
    score = found.get("score", row.trained)
    times = [t for t in row.targets.values() if t.interval]
    ms = "-" if not times else f"{max(t.ms or 0 for t in times):.2f}"
    return (
        row.variant.name,
        "-" if score is None else f"{score:.4f}",
        bytes_text(int(found["bytes"])) if "bytes" in found else "-",
        ms,
        "-" if row.macs is None else f"{row.macs / 1e9:.3f}",
        str(row.steps),
    )


def figure_text(figure: str, value: float) -> str:
    """`327.3 kB`, `2.28 ms`, `0.011 GMAC`, `0.2928`."""
    if figure == "bytes":
        return bytes_text(int(value))
    return {"ms": f"{value:.3g} ms", "macs": f"{value / 1e9:.4g} GMAC"}.get(figure, f"{value:.4f}")


def _show_effects(swept: Swept) -> None:
    made = terminal.table(
        "what each choice was worth", "choice", "figure", "means", "of the variance"
    )
    for effect in swept.effects:
        means = ", ".join(
            f"{name}: {figure_text(effect.figure, mean)}"
            for name, (mean, _) in effect.means.items()
        )
        made.add_row(effect.choice, effect.figure, means, f"{effect.share:.0%}")
    terminal.show(made)
