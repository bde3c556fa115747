"""How a folder is written whole: beside its place, where it then goes in one step."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from toolchain.bundle.files import entries_below, exchange, writing


@contextlib.contextmanager
def staged(destination: Path) -> Iterator[Path]:
    """A hidden folder beside the destination, removed at the end.

    What a process that was killed left beside it is swept first. Every OSError inside (a full
    disk) becomes CannotWrite.
    """
    from filelock import FileLock

    stage = destination.parent / f".{destination.name}.{uuid.uuid4().hex[:8]}.partial"
    with writing(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        sweep(destination)
        # Of no thread: what one thread of a build staged, another publishes and lets go of.
        lock = FileLock(stage.with_suffix(".lock"), thread_local=False)
        with lock:
            stage.mkdir()
            try:
                yield stage
            finally:
                shutil.rmtree(stage, ignore_errors=True)
                Path(lock.lock_file).unlink(missing_ok=True)


def sweep(destination: Path) -> None:
    """Remove what a killed process left; bring back a folder that it had just moved aside."""
    from filelock import FileLock, Timeout

    for leftover in destination.parent.glob(f".{destination.name}.*.*"):
        if leftover.suffix not in (".partial", ".old", ".lock"):
            continue
        # The system lets go of a lock with the process that held it: who still holds it, builds.
        lock = FileLock(leftover.with_suffix(".lock"))
        with contextlib.suppress(Timeout), lock.acquire(timeout=0):
            if leftover.suffix == ".old" and not destination.exists():
                leftover.rename(destination)
            elif leftover.suffix != ".lock":
                shutil.rmtree(leftover, ignore_errors=True)
            Path(lock.lock_file).unlink(missing_ok=True)


def copy_files(source: Path, to: Path) -> None:
    """Copies the files of a folder, with the modes that umask says now."""
    for name in entries_below(source):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, to / name)


def put_in_place(folder: Path, destination: Path, stage: Path) -> None:
    """A folder, which is a stage or in one, takes its place, and what was there is removed.

    Where the system can exchange two folders there is always one of them, the old or the new.
    Elsewhere a kill between two renames leaves the old one aside, which `sweep` brings back.
    """
    if not destination.exists():
        folder.rename(destination)
    elif exchange(folder, destination):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        old = stage.with_suffix(".old")
        destination.rename(old)
        folder.rename(destination)
        shutil.rmtree(old, ignore_errors=True)
