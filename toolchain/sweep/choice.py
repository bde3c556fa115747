"""What a sweep comes to: the Pareto front, the pick, and what each choice was worth."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from toolchain.sweep.row import Row
from toolchain.sweep.sweep_file import HIGHER, Figure, PickTable, Range, SweepFile, Value

THIRDS = ("low", "middle", "high")


def better(name: Figure, one: float, other: float) -> bool:
    """Whether one value of a figure is better than another."""
    return one > other if name in HIGHER else one < other


def best(name: Figure, values: Sequence[float]) -> float:
    """The best of a figure's values."""
    return max(values) if name in HIGHER else min(values)


def front(rows: Sequence[Row], names: Sequence[Figure]) -> list[Row]:
    """The rows of which none is better in one of these figures and as good in the others."""
    whole = [row for row in rows if all(name in row.figures for name in names)]
    return [row for row in whole if not any(_beats(other, row, names) for other in whole)]


def _beats(one: Row, other: Row, names: Sequence[Figure]) -> bool:
    pairs = [(name, one.figures[name], other.figures[name]) for name in names]
    if any(better(name, b, a) for name, a, b in pairs):
        return False
    return any(better(name, a, b) for name, a, b in pairs)


def picked(rows: Sequence[Row], rule: PickTable) -> Row | None:
    """The row that the rule names; of equal ones the first. None where none was shipped."""
    able = [row for row in rows if {rule.best, *rule.keep} <= row.figures.keys()]
    for name, share in rule.keep.items():
        top = best(name, [row.figures[name] for row in able]) if able else 0.0
        limit = top * share if name in HIGHER else top / share
        able = [row for row in able if not better(name, limit, row.figures[name])]
    values = [row.figures[rule.best] for row in able]
    return able[values.index(best(rule.best, values))] if able else None


def rule_text(rule: PickTable) -> str:
    """`fewest bytes, with at least 98 % of the best score`."""
    said = f"{'most' if rule.best in HIGHER else 'fewest'} {rule.best}"
    limits = [
        f"at least {share:.0%} of the best {name}"
        if name in HIGHER
        else f"at most {1 / share:.2f} times the fewest {name}"
        for name, share in rule.keep.items()
    ]
    return ", with ".join([said, " and ".join(limits)]) if limits else said


@dataclass(frozen=True)
class MainEffect:
    """What a choice was worth: a figure's mean for each of its values, over all other choices.

    `share` is the part of the figure's variance that lies between the values (eta squared).
    """

    choice: str
    figure: str
    means: Mapping[str, tuple[float, int]]
    share: float

    @property
    def worth(self) -> float:
        """Between the best and the worst value."""
        means = [mean for mean, _ in self.means.values()]
        return max(means) - min(means)


def effects(rows: Sequence[Row], sweep: SweepFile) -> list[MainEffect]:
    """Of each choice on the score after the first rung, where all were, and on shipped figures."""
    first = sweep.rungs[0]
    asked: dict[str, Callable[[Row], float | None]] = {
        f"score at step {first}": lambda row: dict(row.curve).get(first),
        "bytes": lambda row: row.figures.get("bytes"),
        "ms": lambda row: row.figures.get("ms"),
        "macs": lambda row: row.macs,
    }
    found = []
    for choice, values in sweep.vary.each.items():
        for figure, of in asked.items():
            pairs = [
                (row.variant.varied[choice], value)
                for row in rows
                if choice in row.variant.varied and (value := of(row)) is not None
            ]
            effect = _effect(choice, figure, pairs, values)
            if effect is not None:
                found.append(effect)
    return found


def _effect(
    choice: str,
    figure: str,
    pairs: Sequence[tuple[Value, float]],
    values: Range | Sequence[Value],
) -> MainEffect | None:
    groups: dict[str, list[float]] = defaultdict(list)
    for value, number in pairs:
        groups[_group(value, values)].append(number)
    if len(groups) < 2:
        return None
    every = [number for _, number in pairs]
    centre, spread = statistics.fmean(every), statistics.pvariance(every)
    means = {name: (statistics.fmean(own), len(own)) for name, own in groups.items()}
    between = sum(n * (mean - centre) ** 2 for mean, n in means.values()) / len(every)
    order = THIRDS if isinstance(values, Range) else [str(value) for value in values]
    ordered = {name: means[name] for name in order if name in means}
    return MainEffect(choice, figure, ordered, between / spread if spread else 0.0)


def _group(value: Value, values: Range | Sequence[Value]) -> str:
    """The value, or of a range the third that it lies in."""
    if not isinstance(values, Range):
        return str(value)
    return THIRDS[sum(float(value) > values.at(share) for share in (1 / 3, 2 / 3))]
