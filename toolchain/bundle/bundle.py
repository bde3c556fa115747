"""A bundle: the directory that an app ships. Written whole or not at all.

depth-ios/
    depth.mlpackage         the artifact (or depth.tflite, or depth.tfjs/)
    manifest.json           what it is, how to feed it, how it was proved
    golden/photo.safetensors    inputs and PyTorch's outputs, to test a device against

Of a model with state it is photo-step-1.safetensors, photo-step-2.safetensors.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from model_defs.errors import BadBundle, CannotWrite, MlshipError, UnknownName
from model_defs.files import kind_of
from model_defs.spec import size_names
from toolchain.bundle.files import MANIFEST, entries_below, file_digest, writing
from toolchain.bundle.folders import put_in_place, staged

if TYPE_CHECKING:
    from converters.api import Artifact
    from model_defs.spec import TensorSpec
    from toolchain.bundle.manifest import Contents, FileEntry, Manifest
    from toolchain.bundle.parity_report import ParityReport


T = TypeVar("T")
SOME = 3
"""Files that an error names."""
LARGEST_MANIFEST = 16_000_000
"""Bytes. The zoo's largest has 0.1 MB."""
CHANGED = "changed after the build"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk and its manifest."""

    directory: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.manifest.model.name

    @property
    def target(self) -> str:
        return self.manifest.target

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.manifest.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.manifest.outputs

    @property
    def state(self) -> Mapping[str, str]:
        """Which input is which output of the last call."""
        return self.manifest.state

    @property
    def sizes(self) -> tuple[str, ...]:
        """What its sizes are called, the default first; none where it has one."""
        return size_names(self.inputs)

    def at(self, size: str) -> Bundle:
        """The same at one of its sizes, as if it had no other; UnknownName for no size of it."""
        if not self.sizes:
            what = f"{self.name} has one size, and '{size}' is asked for"
            raise UnknownName(what, where=str(self.directory), do="ask for no size")
        return replace(self, manifest=self.manifest.at(size))

    @property
    def artifact(self) -> Artifact:
        """The artifact where it lies on disk."""
        artifact = self.manifest.artifact
        return replace(artifact, path=self.directory / artifact.path)

    @property
    def artifact_bytes(self) -> int:
        return sum(entry.bytes for entry in self.manifest.artifact_files.values())

    @property
    def report(self) -> ParityReport:
        """How it was proved when it was built."""
        return self.manifest.parity.report


def read(directory: Path) -> Bundle:
    """Read a bundle and verify every file against its checksum.

    Raises BadBundle naming the first file that is missing, extra, truncated or edited, or that is
    no file: a link, a pipe or a device is not opened.
    """
    return _settled(directory, _read)


def _read(directory: Path) -> Bundle:
    found = read_manifest(directory)
    _verify(directory, found.manifest.files)
    return found


def read_manifest(directory: Path) -> Bundle:
    """Read a bundle without a look at its other files. Raises BadBundle."""
    from toolchain.bundle import manifest
    from toolchain.bundle.reading import DataFile, read_text

    path = directory / MANIFEST
    if not os.path.lexists(path):
        raise BadBundle(
            "there is no bundle here",
            where=str(directory),
            do="build one: mlship build MODEL --target ios",
        )
    file = DataFile("the manifest", str(path), BadBundle)
    text = read_text(path, file, LARGEST_MANIFEST, follow=False)
    return Bundle(directory, manifest.parse(text, str(path)))


def _verify(directory: Path, listed: Mapping[str, FileEntry]) -> None:
    """BadBundle unless the folder has these files and no others; all are weighed, then opened."""
    try:
        found = entries_below(directory)
    except OSError as error:
        what = f"the folder cannot be read: {error.strerror or error}"
        raise BadBundle(what, where=str(directory)) from error
    found.pop(MANIFEST, None)
    for name, status in found.items():
        if (kind := kind_of(status)) != "file":
            raise BadBundle(f"{name} is a {kind}, not a file", where=str(directory))
    for name, entry in listed.items():
        if name not in found:
            raise BadBundle(f"{name} is missing", where=str(directory))
        if found[name].st_size != entry.bytes:
            sizes = f"it has {found[name].st_size} bytes, not {entry.bytes}"
            raise BadBundle(f"{name} was {CHANGED}: {sizes}", where=str(directory))
    extra = sorted(found.keys() - listed.keys())
    if extra:
        what = f"{extra[0]} is not in the manifest"
        raise BadBundle(what, where=str(directory), do="move it out of the bundle")
    for name, entry in listed.items():
        if not _is_as_built(directory / name, found[name], entry):
            what = f"{name} was {CHANGED}: its checksum does not match"
            raise BadBundle(what, where=str(directory))


def _is_as_built(path: Path, status: os.stat_result, entry: FileEntry) -> bool:
    """Whether it is the file that was sealed; one that cannot be is not opened."""
    same = kind_of(status) == "file" and status.st_size == entry.bytes
    return same and file_digest(path) == entry.sha256


def seal(directory: Path, contents: Contents) -> Bundle:
    """Write the manifest, with the checksums of all files that are in the directory."""
    from toolchain.bundle.manifest import FileEntry, complete, text_of

    files = {
        name: FileEntry(sha256=file_digest(directory / name), bytes=status.st_size)
        for name, status in entries_below(directory).items()
    }
    manifest = complete(contents, files)
    (directory / MANIFEST).write_text(text_of(manifest), encoding="utf-8")
    _share_modes(directory)
    return Bundle(directory, manifest)


def _share_modes(directory: Path) -> None:
    """Gives all that is in a folder the modes of what we made there, which follow umask.

    Converters move in what they wrote as temporary files, which nobody else may read.
    """
    of_files, of_folders = (p.stat().st_mode & 0o777 for p in (directory / MANIFEST, directory))
    for path in directory.rglob("*"):
        path.chmod(of_folders if path.is_dir() else of_files)


@contextlib.contextmanager
def staging(destination: Path) -> Iterator[Path]:
    """A hidden directory beside the destination, which `publish` moves there; else removed.

    Raises CannotWrite for a folder that cannot be written and for a file in the way; turns
    every OSError inside (a full disk) into CannotWrite.
    """
    check_destination(destination)
    with staged(destination) as stage:
        yield stage


def check_destination(destination: Path) -> None:
    """CannotWrite unless nothing is there, an empty folder, or a bundle of ours as it was built.

    Files of it may be missing: they cannot be lost.
    """
    with writing(destination):
        _settled(destination, _check)


def _settled(directory: Path, look: Callable[[Path], T]) -> T:
    """What a look at a folder gives; where a build exchanged it meanwhile, one at the new one."""
    while True:
        seen = _identity(directory)
        try:
            return look(directory)
        except (MlshipError, OSError):
            if _identity(directory) == seen:
                raise


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a folder from another one in its place, and from itself before a change."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_ino, status.st_ctime_ns
    return None


def _check(destination: Path) -> None:
    if destination.is_dir() and not destination.is_symlink() and not any(destination.iterdir()):
        return
    if not (destination.exists() or destination.is_symlink()):
        return
    do = "move it away, or choose another folder with --out"
    where = str(destination)
    if destination.is_symlink() or not (destination / MANIFEST).is_file():
        raise CannotWrite("something that is not a bundle is in the way", where=where, do=do)
    try:
        listed = read_manifest(destination).manifest.files
    except BadBundle as error:
        what = f"something is in the way that may be no bundle of ours: {error.what}"
        raise CannotWrite(what, where=where, do=do) from error
    found = entries_below(destination)
    if foreign := sorted(found.keys() - listed.keys() - {MANIFEST}):
        what = "files that are not its own" if foreign[1:] else "a file that is not its own"
        do = "move them out of the bundle, or choose another folder with --out"
        raise CannotWrite(_with(what, foreign), where=where, do=do)
    there = {name: entry for name, entry in listed.items() if name in found}
    changed = [n for n, e in there.items() if not _is_as_built(destination / n, found[n], e)]
    if changed:
        what = f"files that were {CHANGED}" if changed[1:] else f"a file that was {CHANGED}"
        do = "keep what you changed elsewhere and remove the bundle, or choose another folder"
        raise CannotWrite(_with(what, changed), where=where, do=f"{do} with --out")


def _with(what: str, names: list[str]) -> str:
    count = f"{len(names)} " if len(names) > 1 else ""
    named = ", ".join(names[:SOME]) + (", ..." if len(names) > SOME else "")
    return f"a bundle with {count}{what} is in the way: {named}"


def publish(stage: Path, destination: Path) -> Bundle:
    """Put a sealed stage in the place of what is at its destination, in one step.

    Raises CannotWrite where somebody else's files have come there since.
    """
    check_destination(destination)
    with writing(destination):
        put_in_place(stage, destination, stage)
    return read_manifest(destination)
