"""What is trained: the one kind of thing that a task has to say, and the list of tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module

from torch import Tensor, nn
from torch.utils.data import Dataset

from model_defs.errors import UnknownName
from model_defs.spec import ModelSpec, TensorSpec

Item = tuple[Tensor, ...]
"""A numbered example; a batch has the same tensors, stacked."""

Example = Callable[[tuple[TensorSpec, ...], int], Item]

SEEDS_APART = 1 << 20
"""Examples between those of two seeds; seeds stay below it, too."""

HELD_OUT = 1 << 40
"""Examples from this number on are never trained on."""


@dataclass(frozen=True)
class Task:
    """A model and what it learns from.

    `example(inputs, number)` is one example for a net with these inputs, always the same for
    its number. `learner(net)` is a module with the parameters to train, `net`'s and those
    that only training needs; called with a batch it returns the loss. `score(net, batch)` is
    the mean of `metric` over a batch.

    `inputs` are the net's where they are not the model's: a head's trunk sees pictures. `build`
    makes the net for pictures of a (height, width) where its size is part of it; sizes are
    multiples of `multiple`. `part` names the child whose weights the model has. `initialize`
    changes weights that were drawn for it, so that a net starts with some sense.
    """

    spec: ModelSpec
    example: Example
    learner: Callable[[nn.Module], nn.Module]
    metric: str
    score: Callable[[nn.Module, Item], float]
    inputs: tuple[TensorSpec, ...] = ()
    build: Callable[[int, int], nn.Module] | None = None
    multiple: int = 32
    part: str = ""
    initialize: Callable[[nn.Module], None] | None = None

    def sized(self, share: float) -> tuple[TensorSpec, ...]:
        """The net's inputs, at a share of their height and width."""
        return tuple(self._sized(spec, share) for spec in self.inputs or self.spec.inputs)

    def _sized(self, spec: TensorSpec, share: float) -> TensorSpec:
        if len(spec.shape) != 4 or share == 1:
            return spec
        sides = (max(1, round(side * share / self.multiple)) for side in spec.shape[2:])
        height, width = (side * self.multiple for side in sides)
        return replace(spec, shape=(*spec.shape[:2], height, width), sizes=())

    def learned(self, share: float) -> tuple[TensorSpec, ...]:
        """The inputs of the part whose weights the model has, at this share of their size."""
        return self.spec.inputs if self.part else self.sized(share)

    def net(self, share: float = 1) -> nn.Module:
        """The net, untrained, for inputs at this share of their size."""
        if self.build is None:
            return self.spec.build()
        _, _, height, width = self.sized(share)[0].shape
        return self.build(height, width)

    def around(self, model: nn.Module) -> nn.Module:
        """The net, in eval mode, of which this is the model: itself, but for a part."""
        if not self.part:
            return model
        net = self.net()
        net.set_submodule(self.part, model)
        return net.eval()


class Examples(Dataset[Item]):
    """The examples of a task from number `first` on."""

    def __init__(self, task: Task, share: float, first: int, count: int) -> None:
        self.example, self.inputs = task.example, task.sized(share)
        self.first, self.count = first, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Item:
        return self.example(self.inputs, self.first + index)


TASKS: dict[str, str] = {
    "select": "toolchain.training.select:SELECT",
    "select-coarse": "toolchain.training.select:SELECT_COARSE",
    "portrait": "toolchain.training.portrait:PORTRAIT",
    "portrait-video": "toolchain.training.portrait:PORTRAIT_VIDEO",
    "portrait-head": "toolchain.training.hydra:PORTRAIT_HEAD",
    "depth": "toolchain.training.depth:DEPTH",
    "saliency": "toolchain.training.saliency:SALIENCY",
    "inpaint-lite": "toolchain.training.inpaint:INPAINT_LITE",
}


def find(name: str) -> Task:
    """The task of a model in TASKS, or of path/to/file.py:task; UnknownName for any other."""
    if ".py" in name:
        return _of_file(name)
    if name not in TASKS:
        raise UnknownName.among("task", name, TASKS)
    module, attribute = TASKS[name].split(":")
    task: Task = getattr(import_module(module), attribute)
    return task


def _of_file(name: str) -> Task:
    from model_defs import lookup

    (absolute,) = lookup.expand(name)
    return lookup.load_as(absolute, Task)
