"""What a path leads to, before it is opened: a pipe is waited for, and a device never ends."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from model_defs.errors import MlshipError


def kind_of(status: os.stat_result) -> str:
    """What a path is, in words: only a `file` can be opened without a wait or a way out."""
    return next((name for is_one, name in KINDS if is_one(status.st_mode)), "no file")


KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "folder"),
    (stat.S_ISLNK, "link"),
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


def check_file(
    path: Path, what: str, error: type[MlshipError], do: str = "check the path"
) -> os.stat_result:
    """The status of a regular file, links followed; `error` for whatever else is there.

    `what` is the noun for messages. Paths that no system takes raise what the system says.
    """
    where = str(path)
    try:
        status = path.stat()
    except OSError as wrong:
        if wrong.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise
        if wrong.errno in (errno.ENOENT, errno.ENOTDIR):
            raise error(f"there is no such {what}", where=where, do=do) from wrong
        said = f"the {what} cannot be read: {wrong.strerror}"
        raise error(said, where=where, do=do) from wrong
    if (kind := kind_of(status)) != "file":
        raise error(f"this is a {kind}, not a {what}", where=where, do=do)
    return status
