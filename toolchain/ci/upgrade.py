"""Older files as today's mlship writes them: manifests, mlship.toml, locks, baselines."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from model_defs.errors import BadBundle, BadConfig, BadRecord, CannotWrite, MlshipError
from toolchain.bundle import bundle as bundles
from toolchain.bundle import manifest
from toolchain.bundle.files import MANIFEST, write_whole
from toolchain.ci import config, lock, state


@dataclass(frozen=True)
class FileUpgrade:
    """A file that was read, the schema that it had, today's, and what it holds as today's."""

    path: Path
    what: str
    before: int
    after: int
    text: str

    @property
    def changed(self) -> bool:
        return self.before != self.after

    def __str__(self) -> str:
        if not self.changed:
            return f"{self.path}: {self.what} of schema {self.after} already"
        return f"{self.path}: {self.what} of schema {self.before} is one of schema {self.after} now"

    def to_json(self) -> dict[str, str | int | bool]:
        return {
            "path": str(self.path),
            "what": self.what,
            "before": self.before,
            "after": self.after,
            "changed": self.changed,
        }


def upgrade(paths: Iterable[Path]) -> list[FileUpgrade]:
    """Rewrite what is older, all of it or nothing: what cannot be upgraded leaves all as it was.

    A folder is a bundle's, or a project's with its mlship.toml, lock and baseline. Raises what
    the files' readers raise, BadRecord for a file that is none of these.
    """
    found = [one for path in paths for one in _of_path(path)]
    old = {one.path: one.path.read_bytes() for one in found if one.changed}
    written: list[Path] = []
    try:
        for one in found:
            if one.changed:
                write_whole(one.path, one.text)
                written.append(one.path)
    except CannotWrite:
        for path in written:
            write_whole(path, old[path])
        raise
    return found


def _of_path(path: Path) -> list[FileUpgrade]:
    if (path / MANIFEST).is_file():
        return [_manifest(path)]
    if (path / config.NAME).is_file():
        project = config.read(path)
        others = ((path / lock.NAME, _lock), (project.baseline, _baseline))
        there = [made(file) for file, made in others if file.is_file()]
        return [_project(path / config.NAME), *there]
    if not path.is_file():
        raise BadRecord("there is nothing to upgrade", where=str(path), do=KNOWN)
    return [_kind_of(path)(path)]


KNOWN = f"name a bundle's folder, a project's, {config.NAME}, {lock.NAME} or a baseline"


def _kind_of(path: Path) -> Callable[[Path], FileUpgrade]:
    """What reads a file: by its name, else it can only be a baseline."""
    if path.name == MANIFEST:
        return lambda file: _manifest(file.parent)
    if path.suffix == ".toml":
        return _project
    return _lock if path.name == lock.NAME or path.suffix == ".lock" else _baseline


def _manifest(folder: Path) -> FileUpgrade:
    """Of a bundle whose files are as it says."""
    found = bundles.read(folder).manifest
    path = folder / MANIFEST
    text = manifest.text_of(manifest.with_own_digest(found))
    return FileUpgrade(path, "manifest", _schema_of(path, BadBundle), manifest.SCHEMA, text)


def _lock(path: Path) -> FileUpgrade:
    text = lock.text_of(lock.read(path))
    return FileUpgrade(path, "lock", _schema_of(path, BadRecord), lock.SCHEMA, text)


def _baseline(path: Path) -> FileUpgrade:
    """Of a baseline, not of a report: that is a run's own and is written by the next."""
    before = _schema_of(path, BadRecord)
    text = state.text_of(state.read(path))
    return FileUpgrade(path, "baseline", before, state.SCHEMA, text)


def _schema_of(path: Path, error: type[MlshipError]) -> int:
    """The schema that a file of JSON names at its top."""
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))["schema"]
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise error("this has no schema", where=str(path), do=KNOWN) from cause
    return int(schema)


def _project(path: Path) -> FileUpgrade:
    """The same text with its schema, before the first line that is no comment.

    Its lines end as they did, in CRLF where one of them did.
    """
    config.read(path)
    text = path.read_text(encoding="utf-8")
    before = int(tomllib.loads(text).get("schema", 1))
    if before == config.SCHEMA:
        return FileUpgrade(path, config.NAME, before, config.SCHEMA, text)
    rest = re.sub(r"(?m)^schema\s*=.*\n?", "", text)
    lines = rest.splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if line.strip() and line.lstrip()[0] != "#")
    new = "".join([*lines[:first], f"schema = {config.SCHEMA}\n\n", *lines[first:]])
    if tomllib.loads(new) != {**tomllib.loads(text), "schema": config.SCHEMA}:
        do = f"write schema = {config.SCHEMA} in its first line yourself"
        raise BadConfig("its schema cannot be written without a change", where=str(path), do=do)
    if b"\r\n" in path.read_bytes():
        new = new.replace("\n", "\r\n")
    return FileUpgrade(path, config.NAME, before, config.SCHEMA, new)
