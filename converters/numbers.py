"""The numbers of a file's constants, as a runtime has them: read without running it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from converters import formats
from converters.api import Artifact
from converters.format import resolve
from model_defs.errors import BadArtifact

MALFORMED = (OSError, ValueError, TypeError, KeyError, IndexError, struct.error)
"""What reading a file raises that is not of its format."""

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
    try:
        yield from resolve(formats.find(artifact.format).numbers)(artifact)
    except MALFORMED as error:
        what = f"its constants cannot be read: {type(error).__name__}: {error}"
        raise BadArtifact(what, where=str(artifact.path), do="build it again") from error
