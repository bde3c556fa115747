"""What a person sees: tables on standard output, progress on standard error."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from converters.progress import Say, silent
from toolchain.build.request import Built
from toolchain.parity.compare import ParityRow

if TYPE_CHECKING:
    from rich.table import Table

MOST_ROWS = 40
MARKS = {"passed": "[green]passed[/]", "failed": "[red]FAILED[/]", "skipped": "[yellow]skipped[/]"}


def show(*tables: Table | str) -> None:
    """Print tables and lines, wide enough not to cut anything when piped."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    for table in tables:
        console.print(table)


def table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table with these columns; those in `right` hold numbers."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


@contextlib.contextmanager
def progress() -> Iterator[Say]:
    """Says what is being done, a line a bundle; silent when standard error is no terminal.

    An empty stage ends the line.
    """
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("[dim]{task.fields[stage]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def say(what: str, stage: str) -> None:
            if not stage:
                bars.remove_task(tasks.pop(what))
            elif what in tasks:
                bars.update(tasks[what], stage=stage)
            else:
                tasks[what] = bars.add_task(what, total=None, stage=stage)

        yield say


def size(count: int) -> str:
    """Bytes as people read them, in powers of 1000: 15.8 MB."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:.2f} MB"


def build_table(results: Sequence[Built]) -> Table:
    """One line a bundle: where it is, its size, and how parity went."""
    made = table("", "bundle", "artifact", "size", "recipe", "parity", right=("size",))
    for built in results:
        made.add_row(*_build_row(built))
    return made


def _build_row(built: Built) -> tuple[str, ...]:
    name = f"{built.model}-{built.target}"
    if built.bundle is None:
        verdict = "[red]FAILED[/]" if built.error is None else "[red]not built[/]"
        return name, "-", "-", "-", verdict
    manifest = built.bundle.manifest
    return (
        str(built.bundle.directory) + (" [dim](cached)[/]" if built.cached else ""),
        str(manifest["artifact"]["path"]),
        size(built.bundle.artifact_bytes),
        str(manifest["recipe"]["name"]),
        parity_summary(built),
    )


def show_unbuilt(results: Iterable[Built]) -> None:
    """Say of each what it was not built for, on standard error."""
    for built in results:
        reason = built.error or "; ".join(built.report.problems if built.report else ())
        click.secho(f"{built.model}-{built.target} was not built: {reason}", fg="red", err=True)


def parity_summary(built: Built) -> str:
    """`passed on litert, 5 cases, worst 3.1e-05 of 0.01`."""
    if built.report is None:
        return "-"
    counted = {v: sum(row.verdict == v for row in built.report.rows) for v in MARKS}
    counts = ", ".join(f"{n} {v}" for v, n in counted.items() if n)
    worst = built.report.worst
    margin = f", worst {worst.error:.1e} of {worst.tolerance:.0e}" if worst else ""
    return f"{counts} on {', '.join(built.report.required)}{margin}"


def parity_table(rows: Sequence[ParityRow]) -> Table:
    """Backend x case x output; only the worst case of each output where there are many."""
    title = "parity with PyTorch"
    if len(rows) > MOST_ROWS:
        title += f" (the worst case of each output; --json has all {len(rows)} rows)"
        rows = _worst_rows(rows)
    right = ("error", "tolerance")
    made = table(title, "backend", "case", "output", *right, "verdict", "note", right=right)
    for row in rows:
        made.add_row(
            row.backend,
            row.case,
            row.output,
            _number(row.error),
            _number(row.tolerance),
            MARKS[row.verdict],
            row.note + (f" {row.where}" if row.verdict == "failed" and row.where else ""),
        )
    return made


def _worst_rows(rows: Sequence[ParityRow]) -> list[ParityRow]:
    order = {"failed": 2, "passed": 1, "skipped": 0}
    worst: dict[tuple[str, str], ParityRow] = {}
    for row in rows:
        key = (row.backend, row.output)
        rank = (order[row.verdict], row.error or 0.0)
        if key not in worst or rank > (order[worst[key].verdict], worst[key].error or 0.0):
            worst[key] = row
    return list(worst.values())


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2e}"
