"""Templates of pages and drawings: what is put in is escaped, and what is missing is an error."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

ILLEGAL = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to hold, or advises against: control characters, halves of pairs."""


def legible(text: str) -> str:
    r"""A text that HTML, XML and UTF-8 can hold: a control character is spelled, as `\x1b`."""
    return ILLEGAL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


@functools.cache
def environment(folder: Path) -> Environment:
    """The templates of a folder. Their filter `px` writes a place in a drawing."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalized,
    )
    made.filters["legible"] = legible
    made.filters["px"] = lambda place: f"{place:.1f}"
    return made


def _finalized(value: object) -> object:
    """A text as `legible`; what is marked as a part of a page has been through this."""
    return legible(value) if type(value) is str else value
