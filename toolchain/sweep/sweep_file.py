"""sweep.toml: what of a model is varied, how variants are found, and which one is picked.

task = "portrait"                   # what mlship train takes; or my_net.py:make_task
targets = ["android"]
recipe = "fp16"

[train]                             # of all variants, as mlship train's options
steps = 300
size = 0.5

[vary.train]
rate = { low = 3e-4, high = 3e-3, log = true }
[vary.model]                        # arguments of the function that makes the task
width = [0.5, 0.75, 1.0]
[vary.build]
recipe = ["fp16", "weights-int8,weights-fp16"]

[search]
method = "random"                   # or grid, optuna
variants = 120

[halving]                           # poor ones end early: a third goes on from 30 to 90 steps ...
first = 30
factor = 3

[pick]
best = "bytes"                      # the smallest of those with at least
keep = { score = 0.98 }             # 98 % of the best score
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, ValidationError, model_validator

from model_defs.errors import BadConfig
from model_defs.files import check_file
from toolchain.bundle.reading import (
    DataFile,
    StrictModel,
    of_validation,
    read_text,
    validated_table,
)
from toolchain.recipes import recipes, targets

HELP = "write one: docs/sweeps.md says how"
Value = bool | int | float | str
Figure = Literal["score", "bytes", "ms", "macs", "parameters"]
HIGHER: tuple[Figure, ...] = ("score",)
"""Figures of which more is better; of the others less is."""
OBJECTIVES: tuple[Figure, ...] = ("score", "bytes")
Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Range(StrictModel):
    """Numbers from `low` to `high`: whole ones where both ends are, even in the logarithm if `log`.

    In a grid there are `count` of them.
    """

    low: int | float
    high: int | float
    log: bool = False
    count: Annotated[int, Field(ge=2)] = 3

    @model_validator(mode="after")
    def _has_numbers(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low} has no logarithm", "leave log away")
        return self

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def at(self, share: float) -> int | float:
        """The number at a share of the way, in 0..1."""
        if self.log:
            found = math.exp(math.log(self.low) + share * math.log(self.high / self.low))
        else:
            found = self.low + share * (self.high - self.low)
        return round(found) if self.is_whole else float(f"{found:.4g}")

    @property
    def grid(self) -> tuple[int | float, ...]:
        """Each of a grid's numbers once."""
        return tuple(dict.fromkeys(self.at(i / (self.count - 1)) for i in range(self.count)))


def _choices(given: object) -> list[Value] | Range:
    """A list of values, or a range; ValueError for anything else."""
    if isinstance(given, Range):
        return given
    if isinstance(given, dict):
        try:
            return Range.model_validate(given)
        except ValidationError as error:
            refused = of_validation(error, Range, DataFile("", "", BadConfig))
            raise ValueError(refused.what, refused.do) from error
    if not isinstance(given, list) or not given:
        raise ValueError(f"{given!r} is no list of values, and no {{low = 1, high = 2}}")
    for value in given:
        if not isinstance(value, bool | int | float | str):
            raise ValueError(f"{value!r} is no value that a variant can have")
    return given


Choices = Annotated[list[Value] | Range, PlainValidator(_choices)]
Values = Annotated[list[Value], Field(min_length=1)]


class TrainTable(StrictModel):
    """[train]: options of `mlship train`; `every` so many steps the score is measured."""

    steps: Positive = 300
    batch: Positive = 16
    rate: Annotated[float, Field(gt=0)] = 1e-3
    seed: Annotated[int, Field(ge=0, lt=1 << 20)] = 0
    size: Annotated[float, Field(ge=0.05, le=1)] = 1.0
    half: bool = False
    held_out: Positive = 64
    every: Positive | None = None


class VaryTable(StrictModel):
    """[vary.train], [vary.model] and [vary.build]: the values that each of them may have."""

    train: dict[str, Choices] = Field(default_factory=dict)
    model: dict[str, Choices] = Field(default_factory=dict)
    build: dict[Literal["recipe"], Values] = Field(default_factory=dict)

    @property
    def each(self) -> dict[str, list[Value] | Range]:
        """All of them by the table and the name: train.rate."""
        tables: dict[str, Mapping[Any, Any]] = {
            "train": self.train,
            "model": self.model,
            "build": self.build,
        }
        return {f"{table}.{name}": v for table, own in tables.items() for name, v in own.items()}


class SearchTable(StrictModel):
    """[search]: `grid` has every combination, `random` so many, `optuna` those that it proposes.

    Optuna learns of `batch` variants before it proposes as many again.
    """

    method: Literal["grid", "random", "optuna"] = "grid"
    variants: Positive | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    batch: Positive = 8
    objectives: Annotated[list[Figure], Field(min_length=1)] = Field(
        default_factory=lambda: [*OBJECTIVES]
    )


class HalvingTable(StrictModel):
    """[halving]: all train `first` steps, one of `factor` goes on to `factor` times as many."""

    first: Positive
    factor: Annotated[int, Field(ge=2)] = 3


class PickTable(StrictModel):
    """[pick]: the variant whose figure is `best` among those that `keep` shares of the best ones.

    `keep = {score = 0.98}`: at least 98 % of the best score; `{bytes = 0.5}`: at most twice the
    fewest bytes.
    """

    best: Figure = "score"
    keep: dict[Figure, Share] = Field(default_factory=dict)


class SweepFile(StrictModel):
    """A sweep.toml. `variants` are listed ones, each with what differs: train.rate = 1e-3."""

    version: Literal[1] = Field(default=1, alias="schema")
    task: str
    targets: Annotated[list[str], Field(min_length=1)]
    recipe: str = recipes.DEFAULT
    scenes: Positive = 24
    time: bool = True
    model: dict[str, Value] = Field(default_factory=dict)
    train: TrainTable = TrainTable()
    vary: VaryTable = VaryTable()
    variants: list[dict[str, Value]] = Field(default_factory=list)
    search: SearchTable = SearchTable()
    halving: HalvingTable | None = None
    pick: PickTable = PickTable()

    @model_validator(mode="after")
    def _varies(self) -> SweepFile:
        if not self.vary.each and not self.variants:
            raise ValueError("it varies nothing", "write [vary.train], [vary.model], [vary.build]")
        if self.search.method != "grid" and not self.vary.each:
            raise ValueError(f"{self.search.method} needs [vary], and it lists variants alone")
        if self.search.method != "grid" and self.search.variants is None:
            raise ValueError("search.variants is missing", "say how many: variants = 120")
        for listed in self.variants:
            for name in listed:
                if name.partition(".")[0] not in ("train", "model", "build"):
                    raise ValueError(
                        f"'{name}' of a listed variant is none of train.*, model.*, build.recipe"
                    )
        return self

    @property
    def rungs(self) -> tuple[int, ...]:
        """The steps at which variants are compared; the last are all."""
        steps, found = self.train.steps, []
        if self.halving is not None:
            at = self.halving.first
            while at < steps:
                found.append(at)
                at *= self.halving.factor
        return (*found, steps)


def read(path: Path) -> SweepFile:
    """The sweep in a file. Raises BadConfig, UnknownName."""
    file = DataFile("", str(path), BadConfig, HELP)
    check_file(path, "sweep", BadConfig, HELP)
    try:
        data = tomllib.loads(read_text(path, file))
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"this is no TOML: {error}", where=str(path), do=HELP) from error
    found = validated_table(SweepFile, data, file)
    targets.find(tuple(found.targets))
    for recipe in (found.recipe, *found.vary.build.get("recipe", ())):
        recipes.find(str(recipe))
    if "steps" in found.vary.train and found.halving is not None:
        raise file.refuse("steps vary, and halving compares equal ones", "vary.train.steps")
    return found
