"""What was measured of each tool and model, and how it compares with ours."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.studies.peers.tools import OURS, TOOLS, Tool

RESULTS = Path(__file__).resolve().parents[2] / "results" / "peers.json"
WRONG = 1e-3
"""Share of an output's range beyond which a float32 file does not compute its model."""


@dataclass(frozen=True)
class PeerRow:
    """One tool and one model; None, or nothing, where that was not measured.

    `seconds` and `memory` (bytes) are of the build, `bytes` of the file, `error` is the largest
    as a share of the output's range, `blocks_ms` are milliseconds of one run, one a round. `peak`
    bytes are those of the process that runs it, `own` those beyond its runtime's. `failed` says
    why there is no more.
    """

    seconds: float | None = None
    memory: int | None = None
    bytes: int | None = None
    error: float | None = None
    blocks_ms: tuple[float, ...] = ()
    peak: int | None = None
    own: int | None = None
    failed: str = ""

    @property
    def ms(self) -> float | None:
        """The median of the rounds."""
        return statistics.median(self.blocks_ms) if self.blocks_ms else None

    @property
    def judged(self) -> bool:
        """Whether it is known that the file is right, or that it is not."""
        return bool(self.failed) or self.error is not None

    @property
    def wrong(self) -> bool:
        return self.error is not None and self.error > WRONG

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value not in (None, (), "")}


@dataclass(frozen=True)
class ModelFigures:
    """One model on one machine: `macs` multiply-adds, of which a second can do `peak_gmacs` 1e9.

    `versions` are those of the tools, `rows` their figures.
    """

    machine: str
    macs: int
    peak_gmacs: float
    rows: Mapping[str, PeerRow]
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def peak_ms(self) -> float:
        """What the multiply-adds alone take."""
        return self.macs / self.peak_gmacs / 1e6

    def to_json(self) -> dict[str, Any]:
        rows = {name: row.to_json() for name, row in self.rows.items()}
        return {**vars(self), "rows": rows}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelFigures:
        rows = {name: _row(found) for name, found in data["rows"].items()}
        return cls(**{**data, "rows": rows})


def _row(data: Mapping[str, Any]) -> PeerRow:
    return PeerRow(**{**data, "blocks_ms": tuple(data.get("blocks_ms", ()))})


Entries = Mapping[str, ModelFigures]
Figure = Callable[[PeerRow], float | None]


def load(path: Path = RESULTS) -> dict[str, ModelFigures]:
    """Model -> what was measured; nothing where there is no file yet."""
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {name: ModelFigures.from_json(data) for name, data in found.items()}


def save(entries: Entries, path: Path = RESULTS) -> None:
    data = {name: entry.to_json() for name, entry in entries.items()}
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def missing(entry: ModelFigures | None) -> bool:
    """Whether there is a tool whose file was not compared with PyTorch yet."""
    return entry is None or any(not entry.rows.get(name, PeerRow()).judged for name in TOOLS)


def beside(tool: Tool) -> str:
    """Which of ours a tool stands beside."""
    return OURS[tool.target]


def ratio(entry: ModelFigures, tool: Tool, figure: Figure) -> float | None:
    """A tool's figure over ours: above 1, ours is less. None where either is wrong, or is none."""
    theirs, ours = entry.rows.get(tool.name, PeerRow()), entry.rows.get(beside(tool), PeerRow())
    if tool.ours or theirs.wrong or ours.wrong:
        return None
    above, below = figure(theirs), figure(ours)
    return above / below if above and below else None


def ratios(entries: Entries, tool: Tool, figure: Figure) -> dict[str, float]:
    """Model -> the ratio, of the models that have one."""
    found = {name: ratio(entry, tool, figure) for name, entry in entries.items()}
    return {name: value for name, value in found.items() if value is not None}


FIGURES: dict[str, Figure] = {
    "latency": lambda row: row.ms,
    "build": lambda row: row.seconds,
    "build memory": lambda row: row.memory,
    "bytes": lambda row: row.bytes,
    "memory": lambda row: row.peak,
}
