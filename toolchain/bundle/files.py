"""How files are written whole, what tells one from another, and which paths stay in a folder."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
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


def files_below(directory: Path) -> list[Path]:
    """All files and links of a folder and the folders in it, sorted."""
    return sorted(p for p in directory.rglob("*") if p.is_file() or p.is_symlink())


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


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file and the folders above it: all of it, or what was there stays. CannotWrite."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            fresh.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
            fresh.rename(path)
        finally:
            fresh.unlink(missing_ok=True)
