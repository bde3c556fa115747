"""mlship.toml: a project's models, what they are built for, and their budgets.

[project]
targets = ["ios", "android", "web"]
recipe = "fp16"

[models.depth]                      # of the zoo
[models.edges]                      # your own
spec = "my_net.py:spec"

[budgets]                           # of all
wire_growth = "2 %"

[budgets.depth.ios]                 # of one bundle
wire = "4 MB"
psnr = { limit = 40, level = "warn" }
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from benchmarks.measure.budgets import Budget, Level, budget, level_of
from converters import backends
from model_defs import lookup
from model_defs.errors import BadConfig, MlshipError, UnknownName
from toolchain.bundle import upgrades
from toolchain.bundle.reading import DataFile, StrictModel, upgraded, validated_table
from toolchain.recipes import recipes, targets
from toolchain.recipes.recipes import Recipe
from toolchain.recipes.targets import TARGETS, Target

NAME = "mlship.toml"
SCHEMA = 2
Budgets = Mapping[tuple[str, str], tuple[Budget, ...]]


class ProjectTable(StrictModel):
    """[project]: what holds for all models, and where things lie."""

    targets: list[str] = Field(default_factory=lambda: ["all"])
    recipe: str = recipes.DEFAULT
    out: str = "dist"
    baseline: str = "mlship.baseline.json"
    snapshots: str = "snapshots"
    cases: str | None = None
    require: list[str] = Field(default_factory=list)


class ModelTable(StrictModel):
    """[models.NAME]: what is not set is as in [project]."""

    spec: str | None = None
    weights: str | None = None
    targets: list[str] | None = None
    recipe: str | None = None


class ProjectFile(StrictModel):
    """An mlship.toml; `budgets` are checked against the models, their keys and units."""

    version: Literal[2] = Field(default=2, alias="schema")
    project: ProjectTable = ProjectTable()
    models: dict[str, ModelTable] = Field(default_factory=dict, validate_default=True)
    budgets: dict[str, Any] = Field(default_factory=dict)

    @field_validator("models", mode="before")
    @classmethod
    def _are_some(cls, models: object) -> object:
        if not isinstance(models, dict) or not models:
            raise ValueError("the project has no model", "write [models.NAME], e.g. depth")
        return models


@dataclass(frozen=True)
class ProjectModel:
    """One model of a project: what `mlship build` calls it, and how it is built."""

    name: str
    spec: str
    weights: Path | None
    targets: tuple[Target, ...]
    recipe: Recipe


@dataclass(frozen=True)
class Project:
    """A read and checked mlship.toml; all paths are absolute.

    `budgets` are by model and target.
    """

    folder: Path
    models: tuple[ProjectModel, ...]
    out: Path
    baseline: Path
    snapshots: Path
    cases: Path | None
    require: tuple[str, ...]
    budgets: Budgets


def read(path: Path) -> Project:
    """The project of a file, or of the mlship.toml in a folder. Raises BadConfig, UnknownName."""
    path = (path / NAME if path.is_dir() else path).absolute()
    if not path.is_file():
        raise BadConfig(f"there is no {path.name}", where=str(path.parent), do="mlship init")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"this is no TOML: {error}", where=str(path)) from error
    return _Reader(path, parse(text, path)).project()


def parse(text: str, path: Path) -> ProjectFile:
    """The tables of an mlship.toml, an older one as today's. Raises BadConfig, UnknownName."""
    file = DataFile("", str(path), BadConfig)
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise file.refuse(f"this is no TOML: {error}") from error
    data = upgraded({"schema": 1, **data}, SCHEMA, upgrades.PROJECT, file)
    return validated_table(ProjectFile, data, file)


@dataclass(frozen=True)
class _Reader:
    """Checks what a file's tables name; every error says in which one."""

    path: Path
    data: ProjectFile

    def project(self) -> Project:
        common = self.data.project
        found = tuple(self._model(name, table) for name, table in self.data.models.items())
        folder = self.path.parent
        self._known("backend", common.require, backends.BACKENDS, "[project] require")
        return Project(
            folder,
            found,
            folder / common.out,
            folder / common.baseline,
            folder / common.snapshots,
            folder / common.cases if common.cases is not None else None,
            tuple(common.require),
            self._budgets({model.name: model for model in found}),
        )

    def _model(self, name: str, table: ModelTable) -> ProjectModel:
        where, common = f"[models.{name}]", self.data.project
        spec, _, attribute = (table.spec or name).partition(":")
        spec = f"{self.path.parent / spec}:{attribute}" if spec.endswith(".py") else spec
        (expanded, *more) = self._named(lambda: lookup.expand(spec), where)
        if more:
            raise self._error(f"'{name}' is several models", where, f"one table each: {expanded}")
        weights = self.path.parent / table.weights if table.weights is not None else None
        if weights is not None and not weights.is_file():
            raise self._error(f"there is no file {table.weights}", f"{where} weights")
        chosen = tuple(common.targets if table.targets is None else table.targets)
        text = common.recipe if table.recipe is None else table.recipe
        places = self._named(lambda: targets.find(chosen), f"{where} targets")
        recipe = self._named(lambda: recipes.find(text), f"{where} recipe")
        self._named(lambda: targets.check_recipe(places, recipe), f"{where} recipe")
        return ProjectModel(name, expanded, weights, places, recipe)

    def _budgets(self, known: Mapping[str, ProjectModel]) -> Budgets:
        """The budgets of each bundle: those of all, of its model, of itself; the last one wins."""
        tables = self.data.budgets
        for name, value in tables.items():
            if isinstance(value, dict) and name not in known and "limit" not in value:
                self._known("model", [name], known, "[budgets]")
        found = {}
        general, level = self._keys(tables, known, "[budgets]", "error")
        for name, model in known.items():
            where = f"[budgets.{name}]"
            own = self._dict(tables.get(name, {}), where)
            its, its_level = self._keys(own, TARGETS, where, level)
            for target in model.targets:
                where_target = f"[budgets.{name}.{target.name}]"
                last = self._dict(own.get(target.name, {}), where_target)
                most, _ = self._keys(last, (), where_target, its_level)
                found[name, target.name] = tuple((general | its | most).values())
            self._check_targets(model, own, where)
        return found

    def _check_targets(self, model: ProjectModel, table: Mapping[str, Any], where: str) -> None:
        built = {target.name for target in model.targets}
        for name in table.keys() & TARGETS.keys() - built:
            raise self._error(f"{model.name} is not built for {name}", f"{where[:-1]}.{name}]")

    def _keys(
        self, table: Mapping[str, Any], tables: Iterable[str], where: str, level: Level
    ) -> tuple[dict[str, Budget], Level]:
        """The budgets that a table sets itself, and the level that it gives them."""
        inner = set(tables)
        level = level_of(table.get("level", level), f"{self.path}: {where} level")
        found = {}
        for key, value in table.items():
            if key != "level" and key not in inner:
                found[key] = budget(key, value, level, f"{self.path}: {where} {key}")
        return found, level

    def _dict(self, table: Any, where: str) -> dict[str, Any]:
        if not isinstance(table, dict):
            raise self._error(f"not a table: {table!r}", where, f"write {where} on a line")
        return table

    def _known(self, noun: str, names: Iterable[str], known: Iterable[str], where: str) -> None:
        known = list(known)
        for name in names:
            if name not in known:
                error = UnknownName.among(noun, name, known)
                raise UnknownName(error.what, where=f"{self.path}: {where}", do=error.do)

    def _named(self, look: Any, where: str) -> Any:
        """What a look-up finds; its error with the place in this file."""
        try:
            return look()
        except MlshipError as error:
            raise type(error)(error.what, where=f"{self.path}: {where}", do=error.do) from error

    def _error(self, what: str, where: str, do: str = "") -> BadConfig:
        return BadConfig(what, where=f"{self.path}: {where}".rstrip(": "), do=do)
