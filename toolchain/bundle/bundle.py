"""A bundle: the directory that an app ships. Written whole or not at all.

depth-ios/
    depth.mlpackage         the artifact (or depth.tflite, or depth.tfjs/)
    manifest.json           what it is, how to feed it, how it was proved
    golden/photo.safetensors    inputs and PyTorch's outputs, to test a device against
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_defs.errors import BadBundle, BadSpec, CannotWrite
from model_defs.spec import TensorSpec

MANIFEST = "manifest.json"
SCHEMA = 1


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk and its manifest."""

    directory: Path
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.manifest["model"]["name"])

    @property
    def target(self) -> str:
        return str(self.manifest["target"])

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return tuple(map(TensorSpec.from_json, self.manifest["inputs"]))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return tuple(map(TensorSpec.from_json, self.manifest["outputs"]))

    @property
    def artifact_bytes(self) -> int:
        path = str(self.manifest["artifact"]["path"])
        files = self.manifest["files"].items()
        return sum(entry["bytes"] for name, entry in files if Path(name).parts[0] == path)


def read(directory: Path) -> Bundle:
    """Read a bundle and verify every file against its checksum.

    Raises BadBundle naming the first file that is missing, extra, truncated or edited.
    """
    where = str(directory)
    path = directory / MANIFEST
    if not path.is_file():
        raise BadBundle(
            "there is no bundle here", where=where, do="build one: mlship build MODEL --target ios"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        bundle = Bundle(directory, manifest)
        if manifest["schema"] != SCHEMA:
            raise BadBundle(f"the manifest has schema {manifest['schema']}, not {SCHEMA}")
        listed = {name: entry["sha256"] for name, entry in manifest["files"].items()}
        if manifest["digest"] != digest_of(manifest):
            raise BadBundle("manifest.json was edited: its digest does not match", where=where)
        _ = bundle.name, bundle.target, bundle.inputs, bundle.outputs, bundle.artifact_bytes
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, BadSpec) as error:
        raise BadBundle(
            f"the manifest cannot be read: {error}", where=str(path), do="build the bundle again"
        ) from error
    _verify(directory, listed)
    return bundle


def _verify(directory: Path, listed: dict[str, str]) -> None:
    found = {p.relative_to(directory).as_posix(): p for p in _files(directory)}
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


def _files(directory: Path) -> list[Path]:
    return sorted(p for p in directory.rglob("*") if p.is_file() or p.is_symlink())


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(manifest: dict[str, Any]) -> str:
    """The SHA-256 of a manifest without its own digest."""
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def seal(directory: Path, manifest: dict[str, Any]) -> Bundle:
    """Write the manifest, with the checksums of all files that are in the directory."""
    files = {
        p.relative_to(directory).as_posix(): {
            "sha256": file_digest(p),
            "bytes": p.stat().st_size,
        }
        for p in _files(directory)
    }
    manifest = {"schema": SCHEMA, **manifest, "files": files}
    manifest["digest"] = digest_of(manifest)
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (directory / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return Bundle(directory, manifest)


@contextlib.contextmanager
def staging(destination: Path) -> Iterator[Path]:
    """A hidden directory beside the destination, which `publish` moves there; else removed.

    Raises CannotWrite for a folder that cannot be written and for a file in the way; turns
    every OSError inside (a full disk) into CannotWrite.
    """
    check_destination(destination)
    stage = destination.parent / f".{destination.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial"
    with writing(destination):
        _sweep(destination)
        stage.mkdir(parents=True)
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)


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


def write_whole(path: Path, text: str) -> None:
    """Writes a file and the folders above it: all of it, or what was there stays. CannotWrite."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            fresh.write_text(text, encoding="utf-8")
            fresh.rename(path)
        finally:
            fresh.unlink(missing_ok=True)


def check_destination(destination: Path) -> None:
    """CannotWrite where something that is not a bundle is in the way."""
    is_bundle = (destination / MANIFEST).is_file()
    empty = destination.is_dir() and not any(destination.iterdir())
    if (destination.exists() or destination.is_symlink()) and not is_bundle and not empty:
        raise CannotWrite(
            "something that is not a bundle is in the way",
            where=str(destination),
            do="move it away, or choose another folder with --out",
        )


def _sweep(destination: Path) -> None:
    """Remove what a killed build left; bring back a bundle that it had just moved aside."""
    for leftover in destination.parent.glob(f".{destination.name}.*-*"):
        if _running(leftover.name.split(".")[-2].split("-")[0]):
            continue
        if leftover.suffix == ".old" and not destination.exists():
            leftover.rename(destination)
        else:
            shutil.rmtree(leftover, ignore_errors=True)


def _running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def publish(stage: Path, destination: Path) -> Bundle:
    """Move a sealed stage to its destination; the bundle that was there goes afterwards."""
    old = stage.with_suffix(".old")
    if destination.exists():
        destination.rename(old)
    stage.rename(destination)
    shutil.rmtree(old, ignore_errors=True)
    return Bundle(destination, json.loads((destination / MANIFEST).read_text(encoding="utf-8")))
