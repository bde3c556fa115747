"""What a person sees: tables on standard output, progress on standard error."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from converters.progress import Say, silent

if TYPE_CHECKING:
    from rich.table import Table

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
