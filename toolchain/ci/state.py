"""What was measured of a project's bundles: in a baseline, in a report, or just now."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from model_defs.errors import BadRecord
from toolchain.bundle import upgrades
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.reading import (
    DataFile,
    StrictModel,
    json_object,
    read_text,
    upgraded,
    validated,
)
from toolchain.bundle.weights import WeightsOrigin

SCHEMA = 2
REMEDY = "write it again: mlship ci --update-baseline"


@dataclass(frozen=True)
class BundleFigures:
    """One bundle. `figures` are by their keys in `benchmarks.measure.budgets.LIMITS`.

    `artifact` is the digest of the files that ship. `blocks` are the milliseconds that latencies
    are compared by, of `runtime`; `peak` is what the machine did in the same rounds, in GMAC/s.
    """

    bundle: str
    model: str
    target: str
    recipe: str
    weights: WeightsOrigin
    artifact: str
    figures: Mapping[str, float]
    layer_bytes: Mapping[str, int] = field(default_factory=dict)
    layer_ms: Mapping[str, float] = field(default_factory=dict)
    runtime: str = ""
    blocks: tuple[float, ...] = ()
    peak: float = 0.0


class BaselineFile(StrictModel):
    """What a baseline holds, and a report as its `state`."""

    version: Literal[2] = Field(default=2, alias="schema")
    fingerprint: str
    machine: str
    bundles: tuple[BundleFigures, ...]

    @field_validator("bundles")
    @classmethod
    def _each_once(cls, bundles: tuple[BundleFigures, ...]) -> tuple[BundleFigures, ...]:
        names = [one.bundle for one in bundles]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"'{twice[0]}' stands twice")
        return bundles


@dataclass(frozen=True)
class Measurements:
    """All bundles of one run, by name, and the machine's fingerprint and name."""

    fingerprint: str
    machine: str
    bundles: Mapping[str, BundleFigures]

    def to_json(self) -> dict[str, Any]:
        bundles = tuple(self.bundles.values())
        file = BaselineFile(fingerprint=self.fingerprint, machine=self.machine, bundles=bundles)
        rounded: dict[str, Any] = _rounded(file.model_dump(mode="json"))
        return rounded


def _rounded(value: Any) -> Any:
    """Measured numbers to six digits: a baseline is committed, and noise is no news.

    Counts stay what they are.
    """
    if isinstance(value, float):
        return value if value.is_integer() else float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def text_of(measured: Measurements) -> str:
    """What a baseline file holds."""
    return json.dumps(measured.to_json(), indent=1) + "\n"


def read(path: Path) -> Measurements:
    """A baseline file, or the report.json of `mlship ci`. Raises BadRecord."""
    file = DataFile("the baseline", str(path), BadRecord)
    return parse(read_text(path, file), str(path))


def parse(text: str, where: str) -> Measurements:
    """The state in a text, an older one as today's; that of a report lies under `state`."""
    file = DataFile("the baseline", where, BadRecord, REMEDY)
    data = json_object(text, file)
    state = data.get("state", data)
    if not isinstance(state, dict):
        raise file.refuse("state is not a table of fields", "state")
    found = validated(BaselineFile, upgraded(state, SCHEMA, upgrades.BASELINE, file), file)
    bundles = {one.bundle: one for one in found.bundles}
    return Measurements(found.fingerprint, found.machine, bundles)


def of_revision(revision: str, path: Path) -> Measurements:
    """The baseline file as a git revision has it. Raises BadRecord."""
    command = ["git", "show", "--end-of-options", f"{revision}:./{path.name}"]
    where = f"{revision}:{path.name}"
    try:
        shown = subprocess.run(
            command, cwd=path.parent, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise BadRecord(f"git cannot be run: {error}", where=where) from error
    if shown.returncode != 0:
        said = (shown.stderr.strip().splitlines() or ["git found nothing"])[-1]
        raise BadRecord(f"there is no such baseline: {said}", where=where)
    return parse(shown.stdout, where)


def artifact_digest(bundle: Bundle) -> str:
    """The SHA-256 of the names and checksums of the files that ship."""
    files = bundle.manifest.artifact_files
    ours = sorted((name, entry.sha256) for name, entry in files.items())
    return hashlib.sha256(json.dumps(ours).encode()).hexdigest()
