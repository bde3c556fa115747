"""How work says what it is doing; whoever started it decides whether anybody hears."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str, str], None]
"""Called with (what is being worked on, at which stage it is: "" once there is none left)."""


def silent(what: str, stage: str) -> None:
    """Says nothing."""
