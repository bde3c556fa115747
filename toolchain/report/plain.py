"""Lines for people: what any file or name holds is shown as text, and nothing acts on it."""

from __future__ import annotations

import re
from typing import Any

import click

from benchmarks.measure.templates import legible

COMMAND = re.compile(r"^(\s*)(::)|(##)(?=\[|vso\[)", re.MULTILINE | re.IGNORECASE)
"""What the runners of GitHub and Azure take for a command: the first where a line begins, after
spaces too, the second anywhere in it."""


def as_text(text: str) -> str:
    r"""A text that moves no cursor and is no command of a CI server's log.

    Control characters are spelled, as `\x1b`, ends of lines and tabs stay; what a command would
    begin with is taken apart.
    """
    seen = legible(text).replace("\r", r"\x0d")
    return COMMAND.sub(lambda found: f"{found[1] or ''}{' '.join(found[2] or found[3])}", seen)


def show_warnings() -> None:
    """From now on, what is logged under `mlship` is shown on standard error, a line each.

    Asked for twice it is shown once.
    """
    import logging

    class Shown(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(f"{record.levelname.lower()}: {record.getMessage()}", err=True, fg="yellow")

    log = logging.getLogger("mlship")
    if not any(type(one).__name__ == Shown.__name__ for one in log.handlers):
        log.addHandler(Shown(logging.WARNING))


def say(text: object = "", *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """Print a line on standard output or, with `err`, standard error; `style` is click's."""
    click.secho(as_text(str(text)), err=err, nl=nl, **style)
