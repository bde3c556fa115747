"""mlship.lock: what a project's bundles were built of, and whether that still gives these bytes.

{"schema": 2, "tools": {"torch": "2.13.0", ...},
 "bundles": {"edges-ios": {"spec": ..., "weights": {...}, "recipe": [...], "files": {...}}}}
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from pydantic import Field, TypeAdapter

from converters.progress import Say
from model_defs.errors import BadRecord, MlshipError
from model_defs.spec import TensorSpec
from toolchain.build.build import build
from toolchain.build.request import BuildRequest, destination
from toolchain.build.ship import tools
from toolchain.bundle import bundle as bundles
from toolchain.bundle import upgrades
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.files import write_whole
from toolchain.bundle.manifest import Digest, InsidePath
from toolchain.bundle.reading import (
    DataFile,
    StrictModel,
    json_object,
    read_text,
    upgraded,
    validated,
)
from toolchain.bundle.weights import WeightsOrigin
from toolchain.ci.config import Project
from toolchain.parity import harness

NAME = "mlship.lock"
SCHEMA = 2
REMEDY = "mlship lock"
OLD_SPEC = "an older mlship locked it in another form; run `mlship lock`"


class Locked(StrictModel):
    """What one bundle was built of, and the SHA-256 of each file that ships.

    `spec` is the digest of its tensors; None in a lock that was one of schema 1.
    """

    spec: Digest | None
    weights: WeightsOrigin
    recipe: tuple[str, ...]
    files: Mapping[InsidePath, Digest]

    @classmethod
    def of(cls, found: Bundle) -> Locked:
        manifest = found.manifest
        return cls(
            spec=spec_digest(found.inputs, found.outputs, found.state),
            weights=manifest.model.weights,
            recipe=(manifest.recipe.name, *manifest.recipe.passes),
            files={name: entry.sha256 for name, entry in manifest.artifact_files.items()},
        )


def spec_digest(
    inputs: Iterable[TensorSpec],
    outputs: Iterable[TensorSpec],
    state: Mapping[str, str] | None = None,
) -> str:
    """The digest of tensors; a number is written as its field's type has it: 0 as 0.0."""
    # A spec that a person wrote has `low=0`, one that was read has 0.0, and both are the same.
    typed = TypeAdapter(tuple[TensorSpec, ...])
    sides = [typed.validate_python([t.to_json() for t in side]) for side in (inputs, outputs)]
    said: list[Any] = [list(map(_said, side)) for side in sides]
    # Locks from before there was state say nothing of it.
    text = json.dumps([*said, dict(state)] if state else said, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _said(tensor: TensorSpec) -> dict[str, Any]:
    """A tensor as locks have it: those from before there were other types say no float32.

    And those from before there were sizes, or limits of measures, say nothing of them.
    """
    left = {"dtype": tensor.is_float, "sizes": not tensor.sizes, "limit": tensor.limit is None}
    return {key: value for key, value in tensor.to_json().items() if not left.get(key)}


class Lock(StrictModel):
    """The versions of the tools, and every bundle of a project by name."""

    version: Literal[2] = Field(default=2, alias="schema")
    tools: Mapping[str, str]
    bundles: Mapping[str, Locked]

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class LockFinding:
    """One thing that was compared with the lock; `locked` and `found` where they differ.

    `note` says why one that was skipped was not compared.
    """

    bundle: str
    what: str
    verdict: Literal["passed", "failed", "skipped"]
    locked: str = ""
    found: str = ""
    note: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def write(project: Project, say: Say) -> Lock:
    """Build a project's bundles and lock them. Raises what building raises, and CannotWrite."""
    bundles = {name: Locked.of(b) for name, b in _built(project, project.out, say)}
    lock = Lock(tools=tools(), bundles=bundles)
    write_whole(project.folder / NAME, text_of(lock))
    return lock


def text_of(lock: Lock) -> str:
    """What the file holds."""
    return json.dumps(lock.to_json(), indent=1) + "\n"


def _built(project: Project, out: Path, say: Say) -> Iterator[tuple[str, Bundle]]:
    """Each bundle of a project; the error of the first that cannot be built."""
    for model in project.models:
        request = BuildRequest(
            (model.spec,), model.targets, model.recipe, weights=model.weights, out=out
        )
        for one in build(request, say):
            yield f"{one.model}-{one.target}", one.shipped()


def read(path: Path) -> Lock:
    """The lock in a file. Raises BadRecord."""
    file = DataFile("the lock", str(path), BadRecord, REMEDY)
    return parse(read_text(path, file), str(path))


def parse(text: str, where: str) -> Lock:
    """The lock in a text, an older one as today's. Raises BadRecord."""
    file = DataFile("the lock", where, BadRecord, REMEDY)
    return validated(Lock, upgraded(json_object(text, file), SCHEMA, upgrades.LOCK, file), file)


def verify(project: Project, *, rebuild: bool, say: Say) -> list[LockFinding]:
    """Compare tools and bundles with the lock: those that are there, or built from nothing."""
    lock = read(project.folder / NAME)
    found = [_same("", f"version of {n}", v, tools().get(n, "none")) for n, v in lock.tools.items()]
    if rebuild:
        with tempfile.TemporaryDirectory(prefix="mlship-") as work, _no_cache(Path(work, "cache")):
            built = dict(_built(project, Path(work, "bundles"), say))
            return found + _compared(lock, built)
    return found + _compared(lock, _there(project))


@contextmanager
def _no_cache(empty: Path) -> Iterator[None]:
    with mock.patch.dict(os.environ, {"MLSHIP_CACHE": str(empty)}):
        yield


def _there(project: Project) -> dict[str, Bundle | str]:
    """The bundles in the project's folder, or why there is none."""
    found: dict[str, Bundle | str] = {}
    for model in project.models:
        for target in model.targets:
            name = f"{model.name}-{target.name}"
            try:
                found[name] = bundles.read(destination(project.out, model.name, target.name))
            except MlshipError as error:
                found[name] = error.what
    return found


def _compared(lock: Lock, found: Mapping[str, Bundle | str]) -> list[LockFinding]:
    findings = []
    for name in dict.fromkeys([*lock.bundles, *found]):
        locked, one = lock.bundles.get(name), found.get(name, "the project does not build it")
        if locked is None:
            findings.append(LockFinding(name, "bundle", "failed", "absent", "built"))
        elif isinstance(one, str):
            findings.append(LockFinding(name, "bundle", "failed", "locked", one))
        else:
            findings += _parts(name, locked, Locked.of(one))
            findings.append(_faithful(name, one))
    return findings


def _faithful(name: str, bundle: Bundle) -> LockFinding:
    """Whether a bundle's file, as it runs here, is faithful to the golden vectors beside it."""
    what = "what the file computes"
    report = harness.judge_golden(bundle).report
    if report.failures:
        return LockFinding(name, what, "failed", "its golden vectors", report.failures[0])
    if report.absences:
        return LockFinding(name, what, "skipped", note=report.absences[0])
    return LockFinding(name, what, "passed")


def _parts(name: str, locked: Locked, found: Locked) -> Iterator[LockFinding]:
    if locked.spec is None:
        yield LockFinding(name, "spec", "skipped", note=OLD_SPEC)
    else:
        yield _same(name, "spec", locked.spec, str(found.spec))
    yield _same(name, "weights", str(locked.weights), str(found.weights))
    yield _same(name, "recipe", ", ".join(locked.recipe), ", ".join(found.recipe))
    for file in dict.fromkeys([*locked.files, *found.files]):
        yield _same(name, file, locked.files.get(file, "none"), found.files.get(file, "none"))


def _same(bundle: str, what: str, locked: str, found: str) -> LockFinding:
    if locked == found:
        return LockFinding(bundle, what, "passed")
    return LockFinding(bundle, what, "failed", locked, found)
