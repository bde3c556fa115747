"""What cards say that no file knows: what the data is, what was seen, what a net cannot do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """`seen` is what somebody saw who looked at the contact sheet."""

    about: str
    data: str
    loss: str
    seen: str
    limits: tuple[str, ...]


NOTES: dict[str, Note] = {}
