"""How work says what it is doing; whoever started it decides whether anybody hears."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str, str], None]
"""Called with (what is being worked on, at which stage it is: "" once there is none left)."""


_hears: Callable[[str], None] | None = None


def listen(hears: Callable[[str], None]) -> None:
    """Let `hears` be called with each stage that this process tells of."""
    global _hears
    _hears = hears


def tell(stage: str) -> None:
    """Say what this process does now, to whoever started it; nothing where nobody listens."""
    if _hears is not None:
        _hears(stage)


def silent(what: str, stage: str) -> None:
    """Says nothing."""
