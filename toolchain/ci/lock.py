"""mlship.lock: what a project's bundles were built of, and whether that still gives these bytes.

{"schema": 1, "tools": {"torch": "2.13.0", ...},
 "bundles": {"edges-ios": {"spec": ..., "weights": ..., "recipe": [...], "files": {...}}}}
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from converters.progress import Say
from model_defs.errors import BadRecord, MlshipError
from toolchain.build.build import build, tools
from toolchain.build.request import BuildRequest, destination
from toolchain.bundle import bundle as bundles
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.files import write_whole
from toolchain.ci.config import Project

NAME = "mlship.lock"
SCHEMA = 1
REMEDY = "mlship lock"


@dataclass(frozen=True)
class Locked:
    """What one bundle was built of, and the SHA-256 of each file that ships."""

    spec: str
    weights: str
    recipe: tuple[str, ...]
    files: Mapping[str, str]

    @classmethod
    def of(cls, found: Bundle) -> Locked:
        manifest = found.manifest
        tensors = [[tensor.to_json() for tensor in side] for side in (found.inputs, found.outputs)]
        text = json.dumps(tensors, sort_keys=True)
        return cls(
            hashlib.sha256(text.encode()).hexdigest(),
            str(manifest.model.weights),
            (manifest.recipe.name, *manifest.recipe.passes),
            {name: entry.sha256 for name, entry in manifest.artifact_files.items()},
        )


@dataclass(frozen=True)
class Lock:
    """The versions of the tools, and every bundle of a project by name."""

    tools: Mapping[str, str]
    bundles: Mapping[str, Locked]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "tools": dict(self.tools),
            "bundles": {name: asdict(one) for name, one in self.bundles.items()},
        }


@dataclass(frozen=True)
class LockFinding:
    """One thing that was compared with the lock; `locked` and `found` where they differ."""

    bundle: str
    what: str
    verdict: Literal["passed", "failed"]
    locked: str = ""
    found: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def write(project: Project, say: Say) -> Lock:
    """Build a project's bundles and lock them. Raises what building raises, and CannotWrite."""
    lock = Lock(tools(), {name: Locked.of(b) for name, b in _built(project, project.out, say)})
    write_whole(project.folder / NAME, json.dumps(lock.to_json(), indent=1) + "\n")
    return lock


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
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise BadRecord(f"schema {data['schema']}, not {SCHEMA}", where=str(path), do=REMEDY)
        found = {
            name: Locked(**{**one, "recipe": tuple(one["recipe"]), "files": dict(one["files"])})
            for name, one in data["bundles"].items()
        }
        return Lock(dict(data["tools"]), found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRecord(f"this is no lock: {error}", where=str(path), do=REMEDY) from error


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
    return findings


def _parts(name: str, locked: Locked, found: Locked) -> Iterator[LockFinding]:
    for what in ("spec", "weights"):
        yield _same(name, what, getattr(locked, what), getattr(found, what))
    yield _same(name, "recipe", ", ".join(locked.recipe), ", ".join(found.recipe))
    for file in dict.fromkeys([*locked.files, *found.files]):
        yield _same(name, file, locked.files.get(file, "none"), found.files.get(file, "none"))


def _same(bundle: str, what: str, locked: str, found: str) -> LockFinding:
    if locked == found:
        return LockFinding(bundle, what, "passed")
    return LockFinding(bundle, what, "failed", locked, found)
