"""How files are written whole, what tells one from another, and which paths stay in a folder."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from model_defs.errors import CannotWrite

MANIFEST = "manifest.json"
"""What says of a folder that it is a bundle."""


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entries_below(directory: Path) -> dict[str, os.stat_result]:
    """All in a folder that is no folder itself, by its path there, sorted; no link is followed."""
    found: dict[str, os.stat_result] = {}
    folders = [directory]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                else:
                    name = Path(entry.path).relative_to(directory).as_posix()
                    found[name] = entry.stat(follow_symlinks=False)
    return dict(sorted(found.items()))


def check_inside(path: str) -> str:
    """The path, which is one from a folder to something in it; ValueError for any other."""
    parts = PurePosixPath(path).parts
    plain = path == "/".join(parts) and "\\" not in path and path.isprintable()
    if not parts or ".." in parts or not plain or PurePosixPath(path).is_absolute():
        raise ValueError(f"{path!r} does not stay in the folder: write it as part/part")
    return path


@contextlib.contextmanager
def writing(destination: Path) -> Iterator[None]:
    """Turns an OSError into CannotWrite."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(
            f"cannot write: {error.strerror or error}",
            where=str(error.filename or destination),
            do="free space, or choose another folder with --out",
        ) from error


EXCHANGE = 2
"""RENAME_EXCHANGE of Linux and RENAME_SWAP of macOS."""
HERE = -100
"""AT_FDCWD of Linux: paths are seen from the working directory."""


def exchange(one: Path, other: Path) -> bool:
    """Two files or folders of one file system change places, in one step of the system.

    False where system or file system cannot (renameat2 of Linux 3.15, renamex_np of macOS 10.12).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    a, b = os.fsencode(one), os.fsencode(other)
    if sys.platform == "linux" and hasattr(libc, "renameat2"):
        return bool(libc.renameat2(HERE, a, HERE, b, EXCHANGE) == 0)
    if sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        return bool(libc.renamex_np(a, b, EXCHANGE) == 0)
    return False


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside this one, with its suffix, to write a file to: it takes this one's place.

    At the end, in one step; what was there stays until then, and for good after an error. What a
    process that was killed has left here goes with the next file of the name. Raises CannotWrite.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        fresh = path.with_name(f".{path.stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}{path.suffix}")
        try:
            yield fresh
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Removes what `whole` began to write for this path in processes that are gone."""
    begun = re.compile(
        rf"\.{re.escape(path.stem)}\.(?P<process>\d+)-[0-9a-f]{{8}}{re.escape(path.suffix)}"
    )
    for name in os.listdir(path.parent):
        match = begun.fullmatch(name)
        if match and not is_running(int(match["process"])):
            (path.parent / name).unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file and the folders above it: all of it, or what was there stays. CannotWrite."""
    with whole(path) as fresh:
        fresh.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
