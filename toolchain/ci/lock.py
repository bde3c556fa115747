"""mlship.lock: what a project's bundles were built of, and whether that still gives these bytes.

{"schema": 3, "tools": {"torch": "2.13.0", ...}, "machine": ...,
 "bundles": {"edges-ios": {"weights": {...}, "recipe": [...], "files": {...}, "says": {...},
             "measured": {...}}}}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from benchmarks.measure import machine
from converters.processes import scratch
from converters.progress import Say
from model_defs.errors import BadRecord, MlshipError
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
from toolchain.cluster.pool import Pool, Run
from toolchain.parity import harness
from toolchain.sweep import cell

NAME = "mlship.lock"
SCHEMA = 3
REMEDY = "mlship lock"
OLD = "an older mlship did not lock it; run `mlship lock`"
MEASURED = "it was measured on another machine, and numbers differ between them"


class Locked(StrictModel):
    """What one bundle was built of, and digests (SHA-256) of all that ships.

    `files` are the artifact's and the loading code's, `says` the fields of the manifest, and
    `measured` what the arithmetic of a machine is in: golden vectors, parity rows, what each pass
    moved. The last two are empty in a lock that was of an older schema.
    """

    weights: WeightsOrigin
    recipe: tuple[str, ...]
    files: Mapping[InsidePath, Digest]
    says: Mapping[str, Digest]
    measured: Mapping[str, Digest]

    @classmethod
    def of(cls, found: Bundle) -> Locked:
        manifest = found.manifest
        golden = set(manifest.golden_files)
        digests = {name: entry.sha256 for name, entry in manifest.files.items()}
        fields = {k: v for k, v in manifest.to_json().items() if k not in NOT_SAID}
        numbers = {"parity": fields.pop("parity"), "passes": fields["recipe"].pop("pass_report")}
        return cls(
            weights=manifest.model.weights,
            recipe=(manifest.recipe.name, *manifest.recipe.passes),
            files={name: digest for name, digest in digests.items() if name not in golden},
            says=_digests(fields),
            measured={
                **{name: digest for name, digest in digests.items() if name in golden},
                **_digests(numbers),
            },
        )


NOT_SAID = ("schema", "files", "digest")
"""Fields of a manifest that are of its form, or are compared by themselves."""


def _digests(fields: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: json.dumps(value, sort_keys=True) for name, value in fields.items()}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


class Lock(StrictModel):
    """The versions of the tools, every bundle of a project by name, and where it was made.

    `machine` is the fingerprint of the one that built them; "" in a lock of an older schema.
    """

    version: Literal[3] = Field(default=3, alias="schema")
    tools: Mapping[str, str]
    machine: str
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
    lock = Lock(tools=tools(), machine=machine.this().fingerprint, bundles=bundles)
    write_whole(project.folder / NAME, text_of(lock))
    return lock


def text_of(lock: Lock) -> str:
    """What the file holds."""
    return json.dumps(lock.to_json(), indent=1) + "\n"


def _built(
    project: Project, out: Path, say: Say, *, fresh: bool = False, by_others: bool = False
) -> Iterator[tuple[str, Bundle]]:
    """Each bundle of a project; the error of the first that cannot be built.

    `by_others`: but for recipes in files all was built anew a moment ago.
    """
    for model in project.models:
        request = BuildRequest(
            (model.spec,),
            model.targets,
            model.recipe,
            weights=model.weights,
            out=out,
            fresh=fresh or (by_others and bool(model.recipe.layers)),
        )
        for one in build(request, say):
            yield f"{one.model}-{one.target}", one.shipped()


def _build_on(pool: Pool, project: Project, say: Say) -> None:
    """Builds all that a project has from nothing, so that the cache has what workers built.

    Of a recipe in a file workers know nothing: such a model is taken out of the cache, and built
    here. What cannot be built is said when it is asked for.
    """
    options = {"fresh": True}
    jobs = [
        cell.job(
            model.spec,
            model.recipe.name,
            [target.name for target in model.targets],
            {**options, "weights": str(model.weights) if model.weights else None},
        )
        for model in project.models
        if not model.recipe.layers
    ]
    for _ in Run(pool, "building anew", say).each(jobs):
        pass


def read(path: Path) -> Lock:
    """The lock in a file. Raises BadRecord."""
    file = DataFile("the lock", str(path), BadRecord, REMEDY)
    return parse(read_text(path, file), str(path))


def parse(text: str, where: str) -> Lock:
    """The lock in a text, an older one as today's. Raises BadRecord."""
    file = DataFile("the lock", where, BadRecord, REMEDY)
    return validated(Lock, upgraded(json_object(text, file), SCHEMA, upgrades.LOCK, file), file)


def verify(
    project: Project, *, rebuild: bool, say: Say, pool: Pool | None = None
) -> list[LockFinding]:
    """Compare tools and bundles with the lock: those that are there, or built from nothing.

    The workers of a `pool`, if there is one, build them.
    """
    lock = read(project.folder / NAME)
    found = of_tools(lock, tools())
    if rebuild:
        with scratch.temporary() as work:
            if pool is not None:
                _build_on(pool, project, say)
            how = {"by_others": True} if pool is not None else {"fresh": True}
            built = dict(_built(project, work / "bundles", say, **how))
            return [*found, *compared(lock, built), *_runs(built)]
    there = _there(project)
    return [*found, *compared(lock, there), *_runs(there)]


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


def of_tools(lock: Lock, here: Mapping[str, str]) -> list[LockFinding]:
    """The versions that were locked with those of this machine."""
    return [_same("", f"version of {n}", v, here.get(n, "none")) for n, v in lock.tools.items()]


def compared(lock: Lock, found: Mapping[str, Bundle | str]) -> list[LockFinding]:
    """Each bundle with what was locked of it; a text says why there is none."""
    here = machine.this().fingerprint == lock.machine
    findings = []
    for name in dict.fromkeys([*lock.bundles, *found]):
        locked, one = lock.bundles.get(name), found.get(name, "the project does not build it")
        if locked is None:
            findings.append(LockFinding(name, "bundle", "failed", "absent", "built"))
        elif isinstance(one, str):
            findings.append(LockFinding(name, "bundle", "failed", "locked", one))
        else:
            findings += _parts(name, locked, Locked.of(one), here, old=not lock.machine)
    return findings


def _runs(found: Mapping[str, Bundle | str]) -> Iterator[LockFinding]:
    for name, one in found.items():
        if not isinstance(one, str):
            yield _faithful(name, one)


def _faithful(name: str, bundle: Bundle) -> LockFinding:
    """Whether a bundle's file, as it runs here, is faithful to the golden vectors beside it."""
    what = "what the file computes"
    report = harness.judge_golden(bundle).report
    if report.failures:
        return LockFinding(name, what, "failed", "its golden vectors", report.failures[0])
    if report.absences:
        return LockFinding(name, what, "skipped", note=report.absences[0])
    return LockFinding(name, what, "passed")


def _parts(
    name: str, locked: Locked, found: Locked, here: bool, *, old: bool
) -> Iterator[LockFinding]:
    """What is as locked and what is not; `here`: on the machine that it was locked on.

    `old`: the lock is of a schema that had no more than the artifact's files.
    """
    yield _same(name, "weights", str(locked.weights), str(found.weights))
    yield _same(name, "recipe", ", ".join(locked.recipe), ", ".join(found.recipe))
    if old:
        artifact = {file: found.files.get(file, "none") for file in locked.files}
        yield from _each(name, locked.files, artifact)
        yield LockFinding(name, "what the manifest says", "skipped", note=OLD)
        return
    yield from _each(name, locked.files, found.files)
    said = [{f"what it says: {k}": v for k, v in one.says.items()} for one in (locked, found)]
    yield from _each(name, *said)
    for one in _each(name, locked.measured, found.measured):
        if one.verdict == "failed" and not here and "none" not in (one.locked, one.found):
            yield LockFinding(name, one.what, "skipped", note=MEASURED)
        else:
            yield one


def _each(name: str, locked: Mapping[str, str], found: Mapping[str, str]) -> Iterator[LockFinding]:
    for what in dict.fromkeys([*locked, *found]):
        yield _same(name, what, locked.get(what, "none"), found.get(what, "none"))


def _same(bundle: str, what: str, locked: str, found: str) -> LockFinding:
    if locked == found:
        return LockFinding(bundle, what, "passed")
    return LockFinding(bundle, what, "failed", locked, found)
