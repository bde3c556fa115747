"""The numbers of a file's constants, as a runtime has them: read without running it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from converters import formats
from converters.api import Artifact
from converters.format import resolve
from converters.malformed import reading

LITERALS = "the code's own numbers"
"""Among names of parameters: what code adds or subtracts that is none, of which files make arrays.
"""


@dataclass(frozen=True)
class StoredConstant:
    """A floating-point constant: its name in the file, and its numbers, whatever stores them.

    `array` is float32 in the file's own layout: codes are already what they stand for.
    """

    name: str
    array: np.ndarray


def stored_constants(artifact: Artifact) -> Iterator[StoredConstant]:
    """The floating-point constants of an artifact, each once; BadArtifact for a malformed file."""
    with reading("constants", artifact.path):
        yield from resolve(formats.find(artifact.format).numbers)(artifact)
