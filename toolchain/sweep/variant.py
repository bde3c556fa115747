"""One variant of a model: how its net is made, how it is trained, how it is built."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from model_defs import lookup
from model_defs.errors import BadConfig, UnknownName
from toolchain.data.task import TASKS, Task
from toolchain.sweep.sweep_file import SweepFile, TrainTable, Value

if TYPE_CHECKING:
    from toolchain.training.state import Settings

FACTORIES: Mapping[str, str] = {
    "portrait": "toolchain.training.portrait:portrait_task",
}
"""What makes tasks of the zoo with other arguments; of those without one only training varies."""
POINTS = 6
"""Scores that are measured while a variant trains to its end, where nothing else is said."""


@dataclass(frozen=True)
class Variant:
    """Arguments of the task's factory, options of training, a recipe; `varied` are in its name."""

    task: str
    model: Mapping[str, Value] = field(hash=False)
    train: Mapping[str, Any] = field(hash=False)
    recipe: str
    varied: Mapping[str, Value] = field(hash=False)

    @classmethod
    def of(cls, sweep: SweepFile, varied: Mapping[str, Value]) -> Variant:
        """The sweep's model with these differences. Raises BadConfig for what training refuses."""
        from toolchain.bundle.reading import DataFile, validated_table

        model, train = dict(sweep.model), sweep.train.model_dump()
        recipe = sweep.recipe
        for name, value in varied.items():
            table, _, key = name.partition(".")
            if table == "build" and key == "recipe":
                recipe = str(value)
            elif table == "train":
                train[key] = float(value) if key in ("rate", "size") else value
            elif table == "model":
                model[key] = value
            else:
                raise UnknownName.among("option of a build", key, ["recipe"])
        checked = validated_table(TrainTable, train, DataFile("", "[train]", BadConfig))
        return cls(task_name(sweep.task), model, checked.model_dump(), recipe, dict(varied))

    @property
    def name(self) -> str:
        """`rate=0.001 width=0.5 recipe=fp16`."""
        return _named(self.varied)

    @property
    def trained_name(self) -> str:
        """The same of its training, which variants of other recipes share."""
        return _named({k: v for k, v in self.varied.items() if not k.startswith("build.")})

    @cached_property
    def key(self) -> str:
        """A digest of how it is made and trained: variants of other recipes share it."""
        parts = [self.task, self.model, self.train]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def settings(self) -> Settings:
        """Those of its training."""
        from toolchain.training.state import Settings

        steps = self.train["steps"]
        own = {k: v for k, v in self.train.items() if k != "every"}
        every = self.train["every"] or max(1, round(steps / POINTS))
        return Settings(**own, warm=min(50, steps // 10 + 1), every=every)

    def load(self) -> Task:
        """Its task. Raises BadConfig, UnknownName for arguments that it does not take."""
        return make_task(self.task, self.model)

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "model": dict(self.model),
            "train": dict(self.train),
            "recipe": self.recipe,
            "varied": dict(self.varied),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Variant:
        return cls(**data)


def _named(varied: Mapping[str, Value]) -> str:
    return " ".join(f"{key.partition('.')[2]}={value}" for key, value in varied.items()) or "as is"


def task_name(name: str) -> str:
    """A task of the zoo, or a file's absolute path with the attribute. Raises UnknownName."""
    if ".py" in name:
        (found,) = lookup.expand(name)
        return found
    if name not in TASKS:
        raise UnknownName.among("task", name, TASKS)
    return name


def make_task(name: str, arguments: Mapping[str, Value]) -> Task:
    """A task of that name, made with these arguments where it is a function that makes one."""
    made = _made_by(name)
    if isinstance(made, Task):
        if arguments:
            raise BadConfig(
                f"{name} is a task that takes no arguments, such as {next(iter(arguments))}",
                do="name a function that takes them and returns a Task, or vary training alone",
            )
        return made
    known = inspect.signature(made).parameters
    for key in arguments:
        if key not in known:
            raise UnknownName.among(f"argument of {name}", key, known)
    try:
        found = made(**arguments)
    except (TypeError, ValueError) as error:
        raise BadConfig(f"{name} refuses {dict(arguments)}: {error}", where=name) from error
    if not isinstance(found, Task):
        raise BadConfig(f"{name} returned a {type(found).__name__}, not a Task", where=name)
    return found


def _made_by(name: str) -> Task | Callable[..., Task]:
    where = FACTORIES.get(name) or TASKS.get(name)
    if where is not None:
        module, attribute = where.split(":")
        made: Task | Callable[..., Task] = getattr(import_module(module), attribute)
        return made
    found = lookup.load_as(name, object)
    if isinstance(found, Task) or callable(found):
        return found
    raise BadConfig(
        f"{name.rpartition(':')[2]} is a {type(found).__name__}, not a Task",
        where=name.rpartition(":")[0],
        do="name a Task, or a function that takes arguments and returns one",
    )


def source_of(variant: Variant) -> str:
    """A file of Python with the variant's `task` and `spec`, for mlship build and mlship train."""
    made = _made_by(variant.task)
    arguments = ", ".join(f"{key}={value!r}" for key, value in variant.model.items())
    if variant.task not in TASKS:
        named = f"lookup.load_as({variant.task!r}, object)"
        task = named if isinstance(made, Task) else f"{named}({arguments})"
        return f"from {lookup.__package__} import lookup\n\ntask = {task}\nspec = task.spec\n"
    where = FACTORIES.get(variant.task) or TASKS[variant.task]
    module, attribute = where.split(":")
    module = import_module(module).__name__
    task = attribute if isinstance(made, Task) else f"{attribute}({arguments})"
    return f"from {module} import {attribute}\n\ntask = {task}\nspec = task.spec\n"
