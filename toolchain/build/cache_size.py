"""What the cache holds, and how it is kept below a limit: what was used last stays."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure.units import BYTES
from model_defs.errors import BadConfig
from toolchain.bundle.files import entries_below
from toolchain.bundle.home import cache_home

KINDS = {
    "objects": "bundles that were built",
    "requests": "what led to them",
    "conversions": "conversions that were proved",
    "rejected": "bundles that were not equal to PyTorch",
    "jobs": "what jobs of sweeps and matrices came to",
    "trainings": "variants that sweeps train",
    "shrink": "trials of mlship shrink",
    "scenes": "drawn scenes of trainings",
    "inductor": "PyTorch's own",
}
"""The folders of a cache: nothing else in it is ours, and nothing else is removed."""
VARIABLE = "MLSHIP_CACHE_LIMIT"
LIMIT = 10e9
"""Bytes that a cache may have where nothing else is said."""


@dataclass(frozen=True)
class CacheEntry:
    """Files that go together: an object with its record, or a file or folder of another kind.

    `used` is when it was made or last answered, in seconds since 1970.
    """

    kind: str
    paths: tuple[Path, ...]
    bytes: int
    used: float


def limit() -> float:
    """$MLSHIP_CACHE_LIMIT in bytes, as 2 GB; BadConfig for what is none."""
    given = os.environ.get(VARIABLE)
    if not given:
        return LIMIT
    found = BYTES.parse(given)
    if found is None or found < 0:
        raise BadConfig(f"{VARIABLE} is '{given}'", do='write it as "2 GB"')
    return found


def entries() -> list[CacheEntry]:
    """All that a cache holds, what was used longest ago first."""
    found = [entry for kind in KINDS for entry in _of_kind(kind)]
    return sorted(found, key=lambda entry: entry.used)


def _of_kind(kind: str) -> Iterator[CacheEntry]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        groups: dict[str, list[Path]] = {}
        for path in (cache_home() / kind).iterdir():
            name = path.name.partition(".")[0] if kind == "objects" else path.name
            groups.setdefault(name, []).append(path)
        for paths in groups.values():
            # Another process may remove it meanwhile.
            with contextlib.suppress(FileNotFoundError):
                sizes = sum(map(_bytes_of, paths))
                yield CacheEntry(kind, tuple(paths), sizes, max(map(_used, paths)))


def _bytes_of(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(status.st_size for status in entries_below(path).values())


def _used(path: Path) -> float:
    return path.lstat().st_mtime


FILLED = 0.9
"""Of the limit, what a build leaves when it is passed."""
_counted: dict[Path, float] = {}
"""Bytes of each cache that this process has counted, with what it has put there since."""


def keep_limit(added: Path) -> None:
    """Keeps the cache below its limit after something was added to it.

    All of it is counted once a process, then only what that adds; where the limit may be passed,
    a tenth more goes, so that the next do not pass it again.
    """
    home, most = cache_home(), limit()
    known = _counted.get(home)
    held = sum(one.bytes for one in entries()) if known is None else known + _bytes_of(added)
    _counted[home] = held
    if held > most:
        prune(FILLED * most)


def prune(most: float) -> list[CacheEntry]:
    """Removes what was used longest ago until at most so many bytes are left; what was removed."""
    held = entries()
    left, gone = sum(entry.bytes for entry in held), []
    for entry in held:
        if left <= most:
            break
        remove(entry.paths)
        left -= entry.bytes
        gone.append(entry)
    _counted[cache_home()] = left
    return gone


def remove(paths: Iterable[Path]) -> None:
    """Removes files and folders; an object's record goes first: without it nothing is used."""
    for path in sorted(paths, key=lambda one: one.is_dir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
