"""A row of a sweep's table: a variant, how far it came, and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolchain.sweep.sweep_file import HIGHER, Figure
from toolchain.sweep.variant import Variant

TIMES = ("ms", "ms_low", "ms_high", "machine", "seconds")
"""Columns that differ from run to run; all others are the same wherever a sweep is run."""


@dataclass(frozen=True)
class TargetFigures:
    """What was built for a target: bytes, score of the file, milliseconds with their interval."""

    ok: bool
    bytes: int | None = None
    score: float | None = None
    object: str = ""
    ms: float | None = None
    interval: tuple[float, float] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Row:
    """What came of a variant. `curve` are its scores by step, `steps` as far as it was trained.

    `stopped`: others were better at this step. `failed` says why it came to nothing.
    """

    number: int
    variant: Variant
    steps: int = 0
    trained: float | None = None
    curve: Sequence[tuple[int, float]] = ()
    stopped: bool = False
    failed: str = ""
    macs: int | None = None
    parameters: int | None = None
    targets: Mapping[str, TargetFigures] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def shipped(self) -> bool:
        """Whether it was built, and is equal to PyTorch, on every target."""
        return bool(self.targets) and all(found.ok for found in self.targets.values())

    @property
    def figures(self) -> dict[Figure, float]:
        """Of all targets the worst, where it was built for them."""
        if not self.shipped:
            return {}
        found: dict[Figure, float] = {}
        each = self.targets.values()
        judged: tuple[Figure, ...] = ("score", "bytes", "ms")
        for name in judged:
            values = [value for t in each if (value := getattr(t, name)) is not None]
            if len(values) == len(self.targets):
                found[name] = min(values) if name in HIGHER else max(values)
        if self.macs is not None and self.parameters is not None:
            found |= {"macs": self.macs, "parameters": self.parameters}
        return found

    @property
    def status(self) -> str:
        """In a word what became of it."""
        if self.failed:
            return "failed"
        if self.stopped:
            return "stopped"
        if not self.targets:
            return "trained"
        return "shipped" if self.shipped else "unequal"

    def cells(self, machine: str) -> dict[str, Any]:
        """By column, for a table in a file."""
        cells: dict[str, Any] = {"variant": self.number, "status": self.status}
        cells |= dict(self.variant.varied)
        cells |= {"steps": self.steps, "trained score": self.trained}
        cells |= {"macs": self.macs, "parameters": self.parameters}
        for name, found in self.targets.items():
            low, high = found.interval or (None, None)
            cells |= {
                f"{name} score": found.score,
                f"{name} bytes": found.bytes,
                f"{name} ms": found.ms,
                f"{name} ms_low": low,
                f"{name} ms_high": high,
                f"{name} problem": found.problem,
            }
        cells |= {"problem": self.failed, "machine": machine, "seconds": round(self.seconds, 1)}
        return cells

    def to_json(self, machine: str) -> dict[str, Any]:
        return {
            **self.cells(machine),
            "curve": [list(point) for point in self.curve],
            "model": dict(self.variant.model),
            "train": dict(self.variant.train),
            "recipe": self.variant.recipe,
            "objects": {name: found.object for name, found in self.targets.items()},
        }
