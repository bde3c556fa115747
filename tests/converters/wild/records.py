"""What became of each net, kept as JSON: `tests/converters/wild/records/NAME.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from converters.doubles import NOISE

FOLDER = Path(__file__).with_name("records")
TARGETS = ("ios", "android", "web")

EXACT = 2e-5
"""Of an output's range, a file may differ from float64, or NOISE times PyTorch's own float32."""


@dataclass(frozen=True)
class Outcome:
    """A net on a target: a file and its error, or the line that refused it.

    `verdict` is "right", "wrong" (a file was made that is not equal, whoever saw it), "refused"
    (the user's input, in the error's words) or "broken" (a tool or we failed).
    """

    verdict: str
    error: float = 0.0
    megabytes: float = 0.0
    partitions: int = 0
    outside: str = ""
    said: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """A net: its parameters, PyTorch's own error in float32, what building cost, each target.

    `version` is its library's, `processor` the seconds of all processes, `memory` their peak in
    GB, where it was watched.
    """

    net: str
    version: str
    parameters: int
    own: float
    seconds: float
    processor: float
    outcomes: Mapping[str, Outcome]
    memory: float = 0.0
    tools: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether it is right on every target."""
        return all(one.verdict == "right" for one in self.outcomes.values())


def allowed(own: float) -> float:
    """The largest error of a file beside PyTorch's own."""
    return max(EXACT, NOISE * own)


def failed(net: str, version: str, said: str, seconds: float) -> Record:
    """The record of a process that ended without one."""
    outcomes = {target: Outcome("broken", said=said) for target in TARGETS}
    return Record(net, version, 0, 0.0, seconds, 0.0, outcomes)


def store(record: Record, folder: Path = FOLDER) -> None:
    folder.mkdir(exist_ok=True)
    text = json.dumps(asdict(rounded(record)), indent=1, sort_keys=True)
    (folder / f"{record.net}.json").write_text(text + "\n", encoding="utf-8")


def rounded(record: Record) -> Record:
    """With as many digits as mean anything."""
    outcomes = {
        target: replace(one, error=float(f"{one.error:.1e}"), megabytes=round(one.megabytes, 2))
        for target, one in record.outcomes.items()
    }
    return replace(
        record,
        own=float(f"{record.own:.1e}"),
        seconds=round(record.seconds, 1),
        processor=round(record.processor, 1),
        memory=round(record.memory, 1),
        outcomes=outcomes,
    )


def load(path: Path) -> Record:
    data = json.loads(path.read_text(encoding="utf-8"))
    outcomes = {
        target: Outcome(**dict(one, notes=tuple(one["notes"])))
        for target, one in data["outcomes"].items()
    }
    return Record(**dict(data, outcomes=outcomes))


def known(folder: Path = FOLDER) -> dict[str, Record]:
    """The records that are there, by the net's name."""
    return {path.stem: load(path) for path in sorted(folder.glob("*.json"))}
