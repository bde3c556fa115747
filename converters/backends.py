"""Every way to run an artifact, by name: the backends of all formats."""

from __future__ import annotations

from dataclasses import replace

from converters.format import Backend, Named
from converters.formats import FORMATS
from model_defs.errors import UnknownName

BACKENDS: dict[str, Backend] = {
    backend.name: replace(backend, format=format.name)
    for format in FORMATS.values()
    for backend in format.backends
}

WATCHES: dict[str, Named] = {b.name: b.watch for b in BACKENDS.values() if b.watch is not None}
"""The backends that show what they compute in between."""


def of_format(name: str) -> tuple[Backend, ...]:
    """The backends of a format, the main one first."""
    return tuple(b for b in BACKENDS.values() if b.format == name)


def find(name: str) -> Backend:
    """The backend of that name; UnknownName for any other."""
    if name not in BACKENDS:
        raise UnknownName.among("backend", name, BACKENDS)
    return BACKENDS[name]


def in_float32(name: str, precision: str) -> bool:
    """Whether a backend computes such an artifact in float32; one of no table does."""
    return name not in BACKENDS or BACKENDS[name].in_float32(precision)
