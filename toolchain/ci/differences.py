"""What changed between two measurements of a bundle: figures, and layers that explain them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.measure.budgets import LIMITS
from toolchain.ci.state import BundleFigures

SAME = 1e-5
"""What two figures may differ by, as a share, and be the same: a baseline keeps six digits."""
NOISE = 0.03
"""The share of all milliseconds below which a layer's change is not shown."""


@dataclass(frozen=True)
class LayerChange:
    """Bytes or milliseconds of one layer; None where one side does not have it."""

    name: str
    before: float | None
    after: float | None

    @property
    def delta(self) -> float:
        return (self.after or 0) - (self.before or 0)


@dataclass(frozen=True)
class Difference:
    """Two measurements; layer changes the largest first. `before` is None for what is new."""

    before: BundleFigures | None
    after: BundleFigures
    bytes: tuple[LayerChange, ...]
    milliseconds: tuple[LayerChange, ...]

    @property
    def figures(self) -> dict[str, tuple[float, float]]:
        """(before, after) of each figure that both have and that differs."""
        old = self.before.figures if self.before else {}
        new = self.after.figures
        both = [key for key in LIMITS if key in old and key in new]
        return {k: (old[k], new[k]) for k in both if not math.isclose(old[k], new[k], rel_tol=SAME)}

    def to_json(self) -> dict[str, Any]:
        def layers(changes: tuple[LayerChange, ...]) -> list[dict[str, Any]]:
            return [{"layer": c.name, "before": c.before, "after": c.after} for c in changes]

        return {
            "bundle": self.after.bundle,
            "figures": {k: {"before": a, "after": b} for k, (a, b) in self.figures.items()},
            "layer_bytes": layers(self.bytes),
            "layer_ms": layers(self.milliseconds),
        }


def difference(before: BundleFigures | None, after: BundleFigures) -> Difference:
    """What changed from one measurement to another."""
    if before is None:
        return Difference(None, after, (), ())
    timed = before.layer_ms and after.layer_ms
    least = NOISE * sum(after.layer_ms.values())
    return Difference(
        before,
        after,
        _changes(before.layer_bytes, after.layer_bytes, 0),
        _changes(before.layer_ms, after.layer_ms, least) if timed else (),
    )


def _changes(
    before: Mapping[str, float], after: Mapping[str, float], least: float
) -> tuple[LayerChange, ...]:
    names = dict.fromkeys([*after, *before])
    found = [LayerChange(name, before.get(name), after.get(name)) for name in names]
    changed = [c for c in found if abs(c.delta) > least or (c.delta and not least)]
    return tuple(sorted(changed, key=lambda c: -abs(c.delta)))


def culprit(changes: tuple[LayerChange, ...]) -> LayerChange | None:
    """The layer that grew most."""
    grown = [c for c in changes if c.delta > 0]
    return max(grown, key=lambda c: c.delta, default=None)
