"""What a person sees: tables on standard output, progress on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from converters.progress import Say

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

Styled = str | tuple[str, str]
"""A text, or one with its style."""
MARKS: Mapping[str, Styled] = {
    "passed": ("passed", "green"),
    "failed": ("FAILED", "red"),
    "warned": ("warned", "yellow"),
    "skipped": ("skipped", "yellow"),
}


def show(*tables: Table | Text | str) -> None:
    """Print tables and lines, wide enough not to cut anything when piped.

    A text is shown as it is: what has a style is `styled`, and no name can be taken for one.
    """
    from rich.console import Console

    from toolchain.report import plain

    class Plain(Console):
        """Shows names and cells as the text that they are; what is `styled` is a text already."""

        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(plain.as_text(text), **options)

    console = Plain(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Plain(highlight=False, markup=False, emoji=False, width=160)
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


def styled(*parts: Styled) -> Text:
    """A cell of texts, each with its own style or none."""
    from rich.text import Text

    from toolchain.report import plain

    pairs = ((part, "") if isinstance(part, str) else part for part in parts)
    return Text.assemble(*((plain.as_text(text), style) for text, style in pairs))


EVERY = 10.0
"""Seconds between two lines of progress in a log."""


def _seldom() -> Say:
    """Prints the stage that is begun, where the last line is long enough ago."""
    from toolchain.report import plain

    last = time.monotonic()

    def say(what: str, stage: str) -> None:
        nonlocal last
        now = time.monotonic()
        if stage and now - last >= EVERY:
            last = now
            plain.say(f"{what}: {stage}", err=True)

    return say


@contextlib.contextmanager
def progress() -> Iterator[Say]:
    """Says what is being done on standard error, a line a bundle; an empty stage ends the line.

    Where that is no terminal, as in a log, a line is printed every ten seconds at most.
    """
    if not sys.stderr.isatty():
        yield _seldom()
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

    from toolchain.report import plain

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[stage]}", style="dim", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def say(what: str, stage: str) -> None:
            shown = plain.as_text(stage)
            if not stage:
                bars.remove_task(tasks.pop(what))
            elif what in tasks:
                bars.update(tasks[what], stage=shown)
            else:
                tasks[what] = bars.add_task(plain.as_text(what), total=None, stage=shown)

        yield say
