"""Budgets: what may be limited, in which unit, and whether a figure keeps its limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.measure.units import BYTES, DECIBEL, NUMBER, RATIO, SHARE, TIME, Unit
from model_defs.errors import BadConfig, UnknownName

Level = Literal["error", "warn"]
LEVELS: tuple[Level, ...] = ("error", "warn")


@dataclass(frozen=True)
class Limit:
    """What can be limited: a figure that may be at most, or at least, so much.

    `before`: it compares with a baseline. `metric` names the measure of outputs that it is made
    of; `drop` says that the figure is what this measure lacks of 1.
    """

    unit: Unit
    summary: str
    least: bool = False
    before: bool = False
    metric: str = ""
    drop: bool = False

    def keeps(self, value: float, limit: float) -> bool:
        """Whether a figure keeps it; NaN never does."""
        return value >= limit if self.least else value <= limit


def _drop(metric: str) -> Limit:
    return Limit(SHARE, f"what {metric} lacks of 1, worst case", metric=metric, drop=True)


LIMITS: dict[str, Limit] = {
    "disk": Limit(BYTES, "the artifact on disk"),
    "wire": Limit(BYTES, "the artifact as its platform ships it"),
    "overhead": Limit(RATIO, "disk over the bare numbers"),
    "duplicates": Limit(BYTES, "stored more than once"),
    "latency": Limit(TIME, "a run, of CPU time on one thread"),
    "first_run": Limit(TIME, "the first run, once loaded"),
    "memory": Limit(BYTES, "the process at its most"),
    "parity": Limit(SHARE, "worst error, of what the model tolerates"),
    "psnr": Limit(DECIBEL, "worst PSNR against PyTorch", least=True, metric="PSNR"),
    "iou_drop": _drop("IoU"),
    "boundary_f_drop": _drop("boundary F"),
    "delta1_drop": _drop("delta1"),
    "ordinal_drop": _drop("ordinal"),
    "cc_drop": _drop("CC"),
    "crop_drop": _drop("crop"),
    "ssim_drop": _drop("SSIM"),
    "hole_ssim_drop": _drop("hole SSIM"),
    "hole_psnr": Limit(DECIBEL, "worst PSNR in the hole", least=True, metric="hole PSNR"),
    "abs_rel": Limit(NUMBER, "worst AbsRel against PyTorch", metric="AbsRel"),
    "kl": Limit(NUMBER, "worst KL divergence from PyTorch", metric="KL"),
    "disk_growth": Limit(SHARE, "disk, over the baseline's", before=True),
    "wire_growth": Limit(SHARE, "wire, over the baseline's", before=True),
    "memory_growth": Limit(SHARE, "memory, over the baseline's", before=True),
    "latency_ratio": Limit(RATIO, "latency over the baseline's, if significant", before=True),
}
"""Every key of a budget."""


@dataclass(frozen=True)
class Budget:
    """A limit as a project sets it. `written` is how, for messages."""

    key: str
    limit: float
    level: Level
    written: str

    @property
    def kind(self) -> Limit:
        return LIMITS[self.key]

    def keeps(self, value: float) -> bool:
        return self.kind.keeps(value, self.limit)

    def show(self, value: float) -> str:
        """A figure in this budget's unit."""
        return self.kind.unit.show(value)


def budget(key: str, written: Any, level: Level, where: str) -> Budget:
    """One line of a budget: a number, a text with a unit, or {limit = ..., level = ...}.

    Raises UnknownName for a key that nothing is known of, BadConfig for what is no limit.
    """
    if key not in LIMITS:
        error = UnknownName.among("budget", key, LIMITS)
        raise UnknownName(error.what, where=where, do=error.do)
    if isinstance(written, dict):
        extra = sorted(written.keys() - {"limit", "level"})
        if extra or "limit" not in written:
            what = f"'{extra[0]}' is no part of a budget" if extra else "a budget without a limit"
            example = f"{key} = {{ limit = {LIMITS[key].unit.example}, level = 'warn' }}"
            raise BadConfig(what, where=where, do=f"write it as {example}")
        level = level_of(written.get("level", level), where)
        written = written["limit"]
    return Budget(key, _limit(key, written, where), level, str(written))


def level_of(value: Any, where: str) -> Level:
    """`error` or `warn`."""
    for level in LEVELS:
        if value == level:
            return level
    raise BadConfig(f"level is {value!r}", where=where, do='levels: "error", "warn"')


def _limit(key: str, written: Any, where: str) -> float:
    unit = LIMITS[key].unit
    do = f"write it as {key} = {unit.example}"
    value = unit.read(written)
    if value is None:
        known = ", ".join(unit.factors) or "none"
        raise BadConfig(f"{written!r} is no limit of {key}; units: {known}", where=where, do=do)
    if not math.isfinite(value) or value < 0:
        raise BadConfig(f"{key} is {written}: a limit is a number from 0", where=where, do=do)
    if unit is RATIO and value < 1:
        raise BadConfig(f"{key} is {written}: a ratio below 1 demands to get better", where=where)
    return value
