"""Signs a bundle: beside `depth-ios` comes `depth-ios.sigs`, which goes where the bundle goes.

depth-ios.sigs/
    bundle.sig              signs every file of the bundle, its manifest among them
    sbom.cdx.json           what is in it, and the tools that built it
    provenance.intoto.json  how it came to be
    documents.sig           signs these two
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from model_defs.errors import BadBundle, CannotWrite
from toolchain.bundle import bundle as bundles
from toolchain.bundle.bundle import SOME, Bundle
from toolchain.bundle.files import file_digest, write_whole
from toolchain.bundle.folders import put_in_place, staged
from toolchain.ci import lock as locks
from toolchain.signing import extra, library, provenance, sbom
from toolchain.signing.keys import SigningKey

BUNDLE, DOCUMENTS = "bundle.sig", "documents.sig"
SIGNATURES = (BUNDLE, DOCUMENTS)
READERS = {sbom.NAME: sbom.read, provenance.NAME: provenance.read}
"""The documents, and what reads each."""


def place_of(folder: Path) -> Path:
    """Where a bundle's signatures and documents lie."""
    return folder.resolve().with_name(f"{folder.resolve().name}.sigs")


def sign(folder: Path, key: SigningKey, project: Path | None = None) -> Path:
    """Sign a bundle that is whole and, where the project has a lock, as locked; where it lies.

    Raises BackendUnavailable without the extra, BadKey, BadBundle, BadRecord and CannotWrite.
    """
    extra.require()
    key.check()
    bundle = bundles.read(folder.resolve())
    locked = locked_by(bundle, project) if project else None
    place = place_of(folder)
    with _staged(place) as stage:
        library.sign(bundle.directory, key, stage / BUNDLE)
        write_whole(stage / sbom.NAME, sbom.write(bundle))
        write_whole(stage / provenance.NAME, provenance.write(bundle, locked))
        library.sign(stage, key, stage / DOCUMENTS, SIGNATURES)
    return place


def locked_by(bundle: Bundle, project: Path) -> str | None:
    """The SHA-256 of the project's lock, None where it has none, or none for this bundle.

    Raises BadBundle for a bundle that is not as locked.
    """
    path = (project if project.is_dir() else project.parent) / locks.NAME
    if not path.is_file():
        return None
    name, lock = f"{bundle.name}-{bundle.target}", locks.read(path)
    if name not in lock.bundles:
        return None
    own = lock.model_copy(update={"bundles": {name: lock.bundles[name]}})
    other = [one.what for one in locks.compared(own, {name: bundle}) if one.verdict == "failed"]
    if other:
        raise BadBundle(
            f"the bundle is not as locked: {', '.join(other[:SOME])}",
            where=str(bundle.directory),
            do="`mlship verify` says what differs; build it again, or lock it: mlship lock",
        )
    return file_digest(path)


@contextlib.contextmanager
def _staged(place: Path) -> Iterator[Path]:
    """An empty folder that takes its place in one step at the end, and is gone after an error."""
    _check(place)
    with staged(place) as work:
        stage = work / place.name  # its name is part of what is signed
        stage.mkdir()
        yield stage
        put_in_place(stage, place, work)


def _check(place: Path) -> None:
    """CannotWrite where something else is in the way."""
    ours = {*SIGNATURES, *READERS}
    folder = place.is_dir() and not place.is_symlink()
    foreign = {p.name for p in place.iterdir()} - ours if folder else place.exists()
    if foreign:
        what = "something that is not a bundle's signatures is in the way"
        raise CannotWrite(what, where=str(place), do="move it away")
