"""Which variants are tried: listed ones, all of a grid, random ones, or what Optuna proposes.

Each proposer is deterministic: asked again, and told the same, it proposes the same. That is how a
sweep which was killed goes on; nothing is kept of the search itself.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from model_defs.errors import BadConfig, UnsupportedOption
from toolchain.sweep.sweep_file import HIGHER, Figure, Range, SweepFile, Value

Varied = Mapping[str, Value]
MOST = 100_000
"""Variants of a grid."""
DRAWS = 50
"""How often a random variant is drawn anew, for each that is wanted, where it was there already."""


class Proposer(Protocol):
    """Proposes variants in batches; it is told the figures of the last, None where stopped."""

    def ask(self) -> Sequence[Varied]:
        """The next batch; empty where there are none left."""

    def tell(self, figures: Sequence[Mapping[Figure, float] | None]) -> None:
        """What came of the last batch, in its order."""


@dataclass
class Fixed:
    """One batch of variants that are known before."""

    variants: Sequence[Varied]

    def ask(self) -> Sequence[Varied]:
        found, self.variants = self.variants, ()
        return found

    def tell(self, figures: Sequence[Mapping[Figure, float] | None]) -> None:
        del figures


def proposer(sweep: SweepFile) -> Proposer:
    """The one that a sweep names. Raises BadConfig for a grid beyond MOST."""
    if sweep.search.method == "optuna":
        return OptunaProposer(sweep)
    found: list[Varied] = [*sweep.variants]
    if sweep.search.method == "random":
        found += _drawn(sweep)
    elif sweep.vary.each:
        found += _grid(sweep)
    return Fixed([dict(pairs) for pairs in dict.fromkeys(tuple(one.items()) for one in found)])


def _grid(sweep: SweepFile) -> Iterator[Varied]:
    axes = {n: v.grid if isinstance(v, Range) else v for n, v in sweep.vary.each.items()}
    count = math.prod(map(len, axes.values()))
    if count > MOST:
        raise BadConfig(f"the grid has {count:,} variants", do="vary less, or search at random")
    return (dict(zip(axes, each, strict=True)) for each in itertools.product(*axes.values()))


def _drawn(sweep: SweepFile) -> list[Varied]:
    """Different ones, as many as are wanted or as there are."""
    drawing, wanted = random.Random(sweep.search.seed), sweep.search.variants or 0
    found: dict[tuple[tuple[str, Value], ...], None] = {}
    for _ in range(wanted * DRAWS):
        if len(found) == wanted:
            break
        one = {
            name: v.at(drawing.random()) if isinstance(v, Range) else drawing.choice(v)
            for name, v in sweep.vary.each.items()
        }
        found[tuple(one.items())] = None
    return [dict(each) for each in found]


class OptunaProposer:
    """A study of several objectives, asked for a batch and told of it before the next.

    The batch does not depend on how many workers there are, so the variants do not either.
    """

    def __init__(self, sweep: SweepFile) -> None:
        try:
            import optuna
        except ImportError as error:
            raise UnsupportedOption(
                'search.method = "optuna" needs Optuna, which is not installed',
                do="pip install 'mlship-toolchain[cluster]', or search at random",
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.sweep, self.optuna = sweep, optuna
        self.study = optuna.create_study(
            directions=["maximize" if f in HIGHER else "minimize" for f in self.objectives],
            sampler=optuna.samplers.TPESampler(seed=sweep.search.seed, n_startup_trials=self.batch),
        )
        self.trials: list[Any] = []
        self.left = sweep.search.variants or 0
        self.listed = [*sweep.variants]

    @property
    def objectives(self) -> Sequence[Figure]:
        return self.sweep.search.objectives

    @property
    def batch(self) -> int:
        return self.sweep.search.batch

    def ask(self) -> Sequence[Varied]:
        if self.listed:
            listed, self.listed = self.listed, []
            self.trials = [None] * len(listed)
            return listed
        count = min(self.batch, self.left)
        self.left -= count
        self.trials = [self.study.ask() for _ in range(count)]
        return [
            {name: self._suggested(trial, name, v) for name, v in self.sweep.vary.each.items()}
            for trial in self.trials
        ]

    def _suggested(self, trial: Any, name: str, values: Range | Sequence[Value]) -> Value:
        if not isinstance(values, Range):
            found: Value = trial.suggest_categorical(name, list(values))
            return found
        if values.is_whole:
            return int(trial.suggest_int(name, values.low, values.high, log=values.log))
        number = trial.suggest_float(name, values.low, values.high, log=values.log)
        return float(f"{number:.4g}")

    def tell(self, figures: Sequence[Mapping[Figure, float] | None]) -> None:
        stopped = self.optuna.trial.TrialState.FAIL
        for trial, found in zip(self.trials, figures, strict=True):
            if trial is None:
                continue
            if found is None or any(name not in found for name in self.objectives):
                self.study.tell(trial, state=stopped)
            else:
                self.study.tell(trial, [found[name] for name in self.objectives])
