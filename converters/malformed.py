"""What readers of model files raise of a file that is none: all of it becomes BadArtifact."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path

from model_defs.errors import BadArtifact, reading_file

MALFORMED = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(RecursionError, struct.error),
)


@contextlib.contextmanager
def reading(what: str, path: Path) -> Iterator[None]:
    """Turns what a damaged file makes of code that believes in it into BadArtifact."""
    try:
        with reading_file(path):
            yield
    except MALFORMED as error:
        said = f"its {what} cannot be read: {type(error).__name__}: {error}"
        raise BadArtifact(said, where=str(path)) from error


class Room:
    """What a file of so many bytes may declare in all.

    Offsets may overlap: a file of a few kB can declare the same megabyte a million times.
    """

    def __init__(self, size: int, path: str = "the file") -> None:
        self.left, self.path = size, path

    def take(self, count: int) -> None:
        """Raises BadArtifact where there is no room for so many bytes more."""
        self.left -= count
        if count < 0 or self.left < 0:
            raise BadArtifact(f"{self.path} declares more than it holds")
