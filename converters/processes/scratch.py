"""Where a run, and the processes that it starts, write what nobody keeps.

    TMPDIR/mlship-1a2b3c4d/         of one process: gone when it ends
    TMPDIR/mlship-1a2b3c4d/lock     held while it runs: the system lets go of it with the process

What a run that was killed has left is swept by the next that needs such a folder.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

OURS = re.compile(r"mlship-[0-9a-z_]{8}")
LOCK = "lock"
YOUNG = 60.0
"""Seconds: a folder that has no lock yet may be of a process that is making one."""

_made: dict[tuple[int, str], Path] = {}
_locks: list[int] = []
"""Files that are open while this process runs."""
_making = threading.Lock()


def folder(base: str | None = None) -> Path:
    """This process's folder in `base`, TMPDIR if None; made when it is first asked for."""
    base = base or tempfile.gettempdir()
    key = os.getpid(), base  # of a fork, its own
    with _making:
        if key not in _made or not _made[key].is_dir():  # systems tidy up temporary folders, too
            _sweep(Path(base))
            _made[key] = _make(base)
            atexit.register(shutil.rmtree, _made[key], ignore_errors=True)
        return _made[key]


@contextlib.contextmanager
def temporary(base: str | None = None) -> Iterator[Path]:
    """A new folder in this process's own in `base`, TMPDIR if None; gone at the end."""
    own = folder(base)
    with tempfile.TemporaryDirectory(dir=own, prefix="", ignore_cleanup_errors=True) as made:
        yield Path(made)


def _make(base: str) -> Path:
    made = Path(tempfile.mkdtemp(prefix="mlship-", dir=base))
    file = os.open(made / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    _locks.append(file)
    return made


def _sweep(base: Path) -> None:
    """Removes folders of this user whose process is gone."""
    with contextlib.suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            if OURS.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _remove_if_left(Path(entry.path))


def _remove_if_left(left: Path) -> None:
    status = left.stat()
    if status.st_uid != os.getuid():
        return
    try:
        file = os.open(left / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        if time.time() - status.st_mtime > YOUNG:
            shutil.rmtree(left, ignore_errors=True)
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(left, ignore_errors=True)
    except BlockingIOError:
        return  # it runs
    finally:
        os.close(file)
