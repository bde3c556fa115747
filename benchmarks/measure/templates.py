"""Templates of pages and drawings: what is put in is escaped, and what is missing is an error."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

ILLEGAL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff"
"""What XML 1.0 has no way to hold, or advises against: control characters, halves of pairs."""
UNSEEN = (
    r"\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f"
)
"""What turns the text around it, ends a line or cannot be seen (Unicode's Cf, Zl and Zp).

Not the two joiners, which words of Persian and Hindi, and emoji, are written with.
"""
SPELLED = re.compile(f"[{ILLEGAL}{UNSEEN}]")


def legible(text: str) -> str:
    r"""A text that HTML, XML and UTF-8 can hold and that reads as it is stored.

    Control characters, and those that turn a text or are not seen, are spelled: `\x1b`, `\u202e`.
    """
    return SPELLED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


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
