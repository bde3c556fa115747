"""What is trained: the one kind of thing that a task has to say, and the list of tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from torch import Tensor, nn
from torch.utils.data import Dataset

from model_defs.errors import UnknownName
from model_defs.spec import ModelSpec, TensorSpec

Item = tuple[Tensor, ...]
"""A numbered example; a batch has the same tensors, stacked."""

Example = Callable[[tuple[TensorSpec, ...], int], Item]

HELD_OUT = 1 << 40
"""Examples from this number on are never trained on."""


@dataclass(frozen=True)
class Task:
    """A model and what it learns from.

    `example(inputs, number)` is one example for a net with these inputs, always the same for
    its number. `learner(net)` is a module with the parameters to train, `net`'s and those
    that only training needs; called with a batch it returns the loss. `score(net, batch)` is
    the mean of `metric` over a batch; `higher` says whether more is better.
    """

    spec: ModelSpec
    example: Example
    learner: Callable[[nn.Module], nn.Module]
    metric: str
    score: Callable[[nn.Module, Item], float]
    higher: bool = True


class Examples(Dataset[Item]):
    """The examples of a task from number `first` on."""

    def __init__(self, task: Task, first: int, count: int) -> None:
        self.example, self.inputs = task.example, task.spec.inputs
        self.first, self.count = first, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Item:
        return self.example(self.inputs, self.first + index)


TASKS: dict[str, str] = {
    "portrait": "toolchain.training.portrait:PORTRAIT",
    "depth": "toolchain.training.depth:DEPTH",
}


def find(name: str) -> Task:
    """The task of a model in TASKS; UnknownName for any other."""
    if name not in TASKS:
        raise UnknownName.among("task", name, TASKS)
    module, attribute = TASKS[name].split(":")
    task: Task = getattr(import_module(module), attribute)
    return task
