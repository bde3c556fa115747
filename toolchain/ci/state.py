"""What was measured of a project's bundles: in a baseline, in a report, or just now."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from model_defs.errors import BadRecord
from toolchain.bundle.bundle import Bundle

SCHEMA = 1
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
    weights: str
    artifact: str
    figures: Mapping[str, float]
    layer_bytes: Mapping[str, int] = field(default_factory=dict)
    layer_ms: Mapping[str, float] = field(default_factory=dict)
    runtime: str = ""
    blocks: tuple[float, ...] = ()
    peak: float = 0.0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BundleFigures:
        return cls(**{**data, "blocks": tuple(data["blocks"])})


@dataclass(frozen=True)
class Measurements:
    """All bundles of one run, by name, and the machine's fingerprint and name."""

    fingerprint: str
    machine: str
    bundles: Mapping[str, BundleFigures]

    def to_json(self) -> dict[str, Any]:
        bundles = [_rounded(asdict(one)) for one in self.bundles.values()]
        return {
            "schema": SCHEMA,
            "fingerprint": self.fingerprint,
            "machine": self.machine,
            "bundles": bundles,
        }

    @classmethod
    def from_json(cls, data: Any, where: str) -> Measurements:
        """BadRecord for what is no state."""
        try:
            if data["schema"] != SCHEMA:
                raise BadRecord(f"schema {data['schema']}, not {SCHEMA}", where=where, do=REMEDY)
            bundles = [BundleFigures.from_json(one) for one in data["bundles"]]
            return cls(data["fingerprint"], data["machine"], {one.bundle: one for one in bundles})
        except (KeyError, TypeError, AttributeError) as error:
            what = f"this is no baseline and no report of mlship ci: {error}"
            raise BadRecord(what, where=where, do=REMEDY) from error


def _rounded(value: Any) -> Any:
    """Numbers to six digits: a baseline is committed, and noise is no news."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def read(path: Path) -> Measurements:
    """A baseline file, or the report.json of `mlship ci`. Raises BadRecord."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecord(f"the baseline cannot be read: {error}", where=str(path)) from error
    return parse(text, str(path))


def parse(text: str, where: str) -> Measurements:
    """The state in a text; that of a report lies under `state`."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise BadRecord(f"this is no JSON: {error}", where=where, do=REMEDY) from error
    return Measurements.from_json(
        data.get("state", data) if isinstance(data, dict) else data, where
    )


def of_revision(revision: str, path: Path) -> Measurements:
    """The baseline file as a git revision has it. Raises BadRecord."""
    command = ["git", "show", f"{revision}:./{path.name}"]
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
