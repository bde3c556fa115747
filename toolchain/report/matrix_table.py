"""What `mlship matrix` prints: a line a bundle, a column a backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.measure.units import bytes_text
from toolchain.report import plain, terminal

if TYPE_CHECKING:
    from toolchain.sweep.matrix import MatrixRow

STYLES = {"passed": "green", "failed": "red", "not built": "red", "skipped": "yellow"}


def show(rows: Sequence[MatrixRow]) -> None:
    """The table, and below it what is wrong."""
    names = list(dict.fromkeys(name for row in rows for name in row.backends))
    made = terminal.table(
        "", "model", "recipe", "target", "size", *names, "verdict", right=("size", *names)
    )
    before = ("", "")
    for row in rows:
        shown = ("", "") if (row.model, row.recipe) == before else (row.model, row.recipe)
        before = (row.model, row.recipe)
        size = "-" if row.bytes is None else bytes_text(row.bytes)
        cells = [_cell(row.backends.get(name)) for name in names]
        verdict = "FAILED" if row.status == "failed" else row.status
        made.add_row(
            *shown, row.target, size, *cells, terminal.styled((verdict, STYLES[row.status]))
        )
    terminal.show(made)
    for row in rows:
        if row.exit_code:
            what = f"{row.model}-{row.target} in {row.recipe}: {row.problem}"
            plain.say(what, fg="red", err=True)


def _cell(found: Mapping[str, Any] | None) -> Any:
    """The worst error as a share of what is allowed."""
    if found is None or found["verdict"] == "skipped":
        return "-"
    share = "" if found["share"] is None else f"{found['share']:.1%}"
    return terminal.styled((share, "red" if found["verdict"] == "failed" else ""))
