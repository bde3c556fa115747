"""A cache that the machines of a team share, at an address of fsspec's: s3://, gs://, file://.

    ADDRESS/objects/<key>.zip                   a sealed bundle, and the cache's record of it
    ADDRESS/trainings/<variant>/<steps>.zip     a training of a sweep

It is read through: what the local cache lacks is fetched, and written only where
$MLSHIP_REMOTE_CACHE_WRITE says to where. Nothing in it is believed: whoever fetches checks digests
and signatures. A server that is slow, dying or lying costs time, never a build.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from model_defs.errors import BadConfig
from toolchain.bundle.files import check_inside, entries_below

log = logging.getLogger("mlship.cache")
T = TypeVar("T")

READ, WRITE = "MLSHIP_REMOTE_CACHE", "MLSHIP_REMOTE_CACHE_WRITE"
PATIENCE = "MLSHIP_REMOTE_CACHE_SECONDS"
SECONDS = 60.0
"""That one object may take; after that the remote cache is left alone until the process ends."""
LARGEST = 8_000_000_000
"""Bytes of an object, unpacked."""
OPTIONS = {"s3": {"config_kwargs": {"connect_timeout": 5, "read_timeout": 20}}}
"""What fsspec's file systems are told, by protocol: not to wait for ever."""

_given_up: set[str] = set()


class DamagedObject(ValueError):
    """An object of the remote cache that is no archive, or leads out of its folder."""


def is_shared() -> bool:
    """Whether there is one to read."""
    return bool(os.environ.get(READ)) and os.environ[READ] not in _given_up


def fetch(place: str, folder: Path) -> bool:
    """Unpacks what lies at a place into a new folder; False where nothing does, or it is damaged.

    Raises BadConfig for an address that is none.
    """
    address = os.environ.get(READ)
    if not address or address in _given_up:
        return False
    system, root = _opened(address, READ)

    def load() -> bytes:
        path = f"{root}/{place}.zip"
        size = system.size(path)
        if size is not None and size > LARGEST:
            raise DamagedObject(f"it has {size / 1e9:.0f} GB")
        found: bytes = system.cat_file(path)
        return found

    content = _in_time(load, address, f"fetching {place}")
    if content is None:
        return False
    try:
        _unpack(content, folder)
    except (DamagedObject, zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
        log.warning("what the remote cache has at %s is not used: %s", place, error)
        return False
    return True


def push(place: str, files: dict[str, Path]) -> None:
    """Puts files, by their names in it, at a place: whole, or not at all. Never an error."""
    address = os.environ.get(WRITE)
    if not address or address in _given_up:
        return
    system, root = _opened(address, WRITE)
    path = f"{root}/{place}.zip"

    def save() -> bool:
        if system.exists(path):
            return True
        content = _packed(files)
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        with system.transaction, system.open(path, "wb") as file:  # there when it is closed
            file.write(content)
        return True

    _in_time(save, address, f"keeping {place}")


def files_of(folder: Path) -> dict[str, Path]:
    """All files of a folder, by their names there."""
    return {name: folder / name for name in entries_below(folder)}


def _opened(address: str, variable: str) -> tuple[Any, str]:
    """The file system of an address, and the path there."""
    import fsspec

    protocol = address.partition("://")[0] if "://" in address else ""
    if not protocol:
        raise BadConfig(f"{variable} is '{address}'", do="write it as s3://bucket/folder")
    try:
        system, root = fsspec.core.url_to_fs(address, **OPTIONS.get(protocol, {}))
    except (ImportError, ValueError) as error:
        raise BadConfig(
            f"{variable} is '{address}', which cannot be opened: {error}",
            do="name s3://, gs://, file:// or memory://, with its package of fsspec's installed",
        ) from error
    return system, str(root).rstrip("/")


def _in_time(do: Callable[[], T], address: str, what: str) -> T | None:
    """What comes of it; None where nothing is there, it fails, or takes too long.

    In the last two cases the address is given up, and that is said once.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def act() -> None:
        try:
            done.append(do())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=act, name=what, daemon=True)
    thread.start()
    thread.join(_patience())
    if done:
        return done[0]
    if failed and isinstance(failed[0], FileNotFoundError):
        return None
    why = (
        f"{type(failed[0]).__name__}: {failed[0]}" if failed else f"no answer in {_patience():g} s"
    )
    if address not in _given_up:
        log.warning("the remote cache is not used any more (%s): %s", what, why)
    _given_up.add(address)
    return None


def _patience() -> float:
    given = os.environ.get(PATIENCE)
    if not given:
        return SECONDS
    with contextlib.suppress(ValueError):
        if (seconds := float(given)) > 0:
            return seconds
    raise BadConfig(f"{PATIENCE} is '{given}'", do="write the seconds, as 60")


def _packed(files: dict[str, Path]) -> bytes:
    """An archive whose bytes depend on the files alone; weights are not to be made smaller."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, path in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), path.read_bytes())
    return made.getvalue()


def _unpack(content: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if sum(entry.file_size for entry in entries) > LARGEST:
            raise DamagedObject("it declares more than a bundle can have")
        for name, entry in _checked(entries):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, path.open("xb") as target:
                while block := source.read(1 << 20):
                    target.write(block)


def _checked(entries: list[zipfile.ZipInfo]) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """Regular files, each inside of the folder."""
    for entry in entries:
        mode = entry.external_attr >> 16
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise DamagedObject(f"{entry.filename!r} is no regular file")
        try:
            yield check_inside(entry.filename), entry
        except ValueError as error:
            raise DamagedObject(str(error)) from error
