"""Objects of the remote cache: believed where our own key signed them, else proved again here."""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from converters.processes import scratch
from converters.progress import Say
from model_defs.errors import BadBundle, BadRecord, MlshipError
from toolchain.build import cache, cache_record, produce, remote, signature
from toolchain.bundle import bundle
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.reading import DataFile, read_text
from toolchain.recipes.targets import Target

if TYPE_CHECKING:
    from converters.api import Artifact
    from toolchain.build.prepare import Prepared
    from toolchain.bundle.parity_report import ParityReport

log = logging.getLogger("mlship.cache")
RECORD, BUNDLE = "record.json", "bundle"


@dataclass(frozen=True)
class FetchedObject:
    """A bundle from elsewhere whose files have their digests; `ours`: our key signed it."""

    bundle: Bundle
    ours: bool


def find(key: str) -> Bundle | None:
    """The object of a key, from the local cache or from that of the team; None where it is none.

    One that our key did not sign is not taken here: `proved` does, where the model is known.
    """
    known = cache.open_object(key)
    if known is not None or not remote.is_shared():
        return known
    with scratch.temporary() as work:
        found = fetched(key, work / "object")
        return cache.adopt(key, found.bundle) if found is not None and found.ours else None


def fetched(key: str, folder: Path) -> FetchedObject | None:
    """What the remote cache has of a key, unpacked into a new folder; None for what is damaged."""
    if not remote.fetch(_place(key), folder):
        return None
    try:
        found = bundle.read(folder / BUNDLE)
        file = DataFile("the remote cache's record", f"{_place(key)}: {RECORD}", BadRecord)
        text = read_text(folder / RECORD, file, follow=False)
        record = cache_record.parse(cache_record.ObjectRecord, text, file)
        if record.manifest != found.manifest.digest:
            raise BadRecord("its record is of another bundle")
    except (BadBundle, BadRecord) as error:
        log.warning("what the remote cache has at %s is not used: %s", _place(key), error.what)
        return None
    content = cache_record.content_of(record)
    is_ours = signature.is_ours(record.signature or "", cache_record.object_place(key), content)
    return FetchedObject(found, is_ours)


def offer(key: str) -> None:
    """Gives the remote cache what the local one has of a key, where it may be written."""
    directory = cache.object_folder(key)
    with suppress(OSError):
        files = {f"{BUNDLE}/{n}": path for n, path in remote.files_of(directory).items()}
        remote.push(_place(key), {**files, RECORD: directory.with_suffix(".json")})


def proved(
    found: Bundle, prepared: Prepared, target: Target, stage: Path, say: Say
) -> tuple[Artifact, ParityReport] | None:
    """The file of somebody's bundle, moved into the stage and held to the model; None if it fails.

    Nothing else of the bundle is taken: its manifest says what anybody could have written.
    """
    say(f"{prepared.name}-{target.name}", "proving what another machine built")
    path = stage / f"{prepared.name}{target.made.suffix}"
    theirs = found.artifact
    try:
        if theirs.format != target.made.name or theirs.path.name != path.name:
            raise BadBundle(f"it holds {theirs.path.name}")
        shutil.move(theirs.path, path)
        artifact = replace(theirs, path=path)
        report = produce.prove(artifact, prepared)
        if report.ok:
            return artifact, report
        why = "; ".join(report.problems)
    except MlshipError as error:
        why = error.what
    log.warning("what the remote cache has of %s is not used: %s", path.name, why)
    for left in (path, *stage.iterdir()):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
    return None


def _place(key: str) -> str:
    return f"objects/{key}"
