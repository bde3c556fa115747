"""A bundle: the directory that an app ships. Written whole or not at all.

depth-ios/
    depth.mlpackage         the artifact (or depth.tflite, or depth.tfjs/)
    manifest.json           what it is, how to feed it, how it was proved
    golden/photo.safetensors    inputs and PyTorch's outputs, to test a device against

Of a model with state it is photo-step-1.safetensors, photo-step-2.safetensors.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from model_defs.errors import BadBundle, CannotWrite, UnknownName
from model_defs.spec import size_names
from toolchain.bundle.files import MANIFEST, exchange, file_digest, files_below, writing

if TYPE_CHECKING:
    from converters.api import Artifact
    from model_defs.spec import TensorSpec
    from toolchain.bundle.manifest import Contents, Manifest
    from toolchain.bundle.parity_report import ParityReport


SOME = 3
"""Files that an error names."""


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

    Raises BadBundle naming the first file that is missing, extra, truncated or edited.
    """
    found = read_manifest(directory)
    _verify(directory, {name: entry.sha256 for name, entry in found.manifest.files.items()})
    return found


def read_manifest(directory: Path) -> Bundle:
    """Read a bundle without a look at its other files. Raises BadBundle."""
    from toolchain.bundle import manifest

    path = directory / MANIFEST
    if not path.is_file():
        raise BadBundle(
            "there is no bundle here",
            where=str(directory),
            do="build one: mlship build MODEL --target ios",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadBundle(
            f"the manifest cannot be read: {error}", where=str(path), do="build the bundle again"
        ) from error
    return Bundle(directory, manifest.parse(text, str(path)))


def _verify(directory: Path, listed: dict[str, str]) -> None:
    found = {p.relative_to(directory).as_posix(): p for p in files_below(directory)}
    found.pop(MANIFEST, None)
    for name, digest in listed.items():
        if name not in found:
            raise BadBundle(f"{name} is missing", where=str(directory), do="build it again")
        if file_digest(found[name]) != digest:
            raise BadBundle(
                f"{name} was changed after the build: its checksum does not match",
                where=str(directory),
                do="build it again",
            )
    extra = sorted(found.keys() - listed.keys())
    if extra:
        raise BadBundle(f"{extra[0]} is not in the manifest", where=str(directory))


def seal(directory: Path, contents: Contents) -> Bundle:
    """Write the manifest, with the checksums of all files that are in the directory."""
    from toolchain.bundle.manifest import FileEntry, complete, text_of

    files = {
        p.relative_to(directory).as_posix(): FileEntry(
            sha256=file_digest(p), bytes=p.stat().st_size
        )
        for p in files_below(directory)
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
    from filelock import FileLock

    check_destination(destination)
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


def check_destination(destination: Path) -> None:
    """CannotWrite unless nothing is there, an empty folder, or a bundle and no file but its own."""
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
    found = {path.relative_to(destination).as_posix() for path in files_below(destination)}
    if foreign := sorted(found - listed.keys() - {MANIFEST}):
        names = ", ".join(foreign[:SOME]) + (", ..." if len(foreign) > SOME else "")
        raise CannotWrite(
            f"a bundle with {len(foreign)} files that are not its own is in the way: {names}"
            if len(foreign) > 1
            else f"a bundle with a file that is not its own is in the way: {names}",
            where=where,
            do="move them out of the bundle, or choose another folder with --out",
        )


def sweep(destination: Path) -> None:
    """Remove what a killed build left; bring back a bundle that it had just moved aside."""
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


def publish(stage: Path, destination: Path) -> Bundle:
    """Put a sealed stage in the place of what is at its destination, in one step.

    Where the system can exchange two folders there is always one of them, the old or the new.
    Elsewhere a kill between two renames leaves the old one aside, which `staging` brings back.
    Raises CannotWrite where somebody else's files have come there since.
    """
    check_destination(destination)
    with writing(destination):
        if not destination.exists():
            stage.rename(destination)
        elif exchange(stage, destination):
            shutil.rmtree(stage, ignore_errors=True)
        else:
            old = stage.with_suffix(".old")
            destination.rename(old)
            stage.rename(destination)
            shutil.rmtree(old, ignore_errors=True)
    return read_manifest(destination)
