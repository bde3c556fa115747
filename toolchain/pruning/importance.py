"""How much each channel of a net matters: scores by group, the least of which go first."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from converters.api import Program
from converters.channels.groups import Channels, Group
from model_defs.errors import RecipeMismatch
from toolchain.pruning.goal import Importance
from toolchain.quantization.gradients import collect_squared_gradients

COMPARABLE: tuple[Importance, ...] = ("taylor", "hessian")
"""Those whose scores have a unit, so that they may be divided by a price."""

Scores = Mapping[str, np.ndarray]
"""By a group's name, a number for each of its channels."""


def score_channels(
    program: Program, channels: Channels, by: Importance, examples: int = 32, task: str = ""
) -> Scores:
    """The importance of each channel.

    `magnitude`: the squared length of all its weights, as a share of its group's mean (Li 2017,
    for groups). `batchnorm`: the size of its BatchNorm's scale (Liu 2017), likewise; where there
    is none, the magnitude. `taylor`: the squared change of the loss that its weights' gradients
    foretell, over examples of the model's training task or of the task named (Molchanov 2019,
    equation 8). `hessian`: how far its weights, zeroed, would move the outputs, by the diagonal
    of the Gauss-Newton matrix (LeCun 1990), which needs no examples. These two compare layers
    with each other; the others are shares.
    """
    if by == "taylor":
        return _taylor(program, channels, examples, task)
    weights = dict(program.module.named_parameters())
    if by == "hessian":
        slopes = collect_squared_gradients(program)
        costs = {n: w.detach() ** 2 * torch.from_numpy(slopes[n]) / 2 for n, w in weights.items()}
        return {g.name: _collected(g, costs, torch.Tensor.detach) for g in channels.groups}
    if by == "batchnorm":
        scales = _scales(program.module)
        return {
            g.name: _shares(_collected(g, scales, torch.abs))
            if any(name in scales for name, _ in g.members)
            else _shares(_collected(g, weights, torch.square))
            for g in channels.groups
        }
    return {g.name: _shares(_collected(g, weights, torch.square)) for g in channels.groups}


def _scales(module: nn.Module) -> dict[str, Tensor]:
    return {
        f"{path}.weight": layer.weight
        for path, layer in module.named_modules()
        if isinstance(layer, _NormBase) and layer.weight is not None
    }


def _collected(
    group: Group, tensors: Mapping[str, Tensor], number: Callable[[Tensor], Tensor]
) -> np.ndarray:
    """For each channel, the sum of a number of each of its weights."""
    total = np.zeros(group.size)
    for (name, place), members in group.members.items():
        if name in tensors:
            total += _along(number(tensors[name].detach()), place)[members].sum(1)
    return total


def _along(tensor: Tensor, place: int) -> np.ndarray:
    """The sum over all dimensions but one."""
    sums: np.ndarray = (
        tensor.double().movedim(place, 0).reshape(tensor.shape[place], -1).sum(1).numpy()
    )
    return sums


def _shares(values: np.ndarray) -> np.ndarray:
    return values / max(float(values.mean()), 1e-30)


def _taylor(program: Program, channels: Channels, examples: int, task: str) -> Scores:
    total = {group.name: np.zeros(group.size) for group in channels.groups}
    for products in _products(program, examples, task):
        for group in channels.groups:
            for (name, place), members in group.members.items():
                if name in products:
                    # Summed before it is squared: the channel goes as a whole, and its weights may
                    # make up for each other.
                    total[group.name] += _along(products[name], place)[members].sum(1) ** 2
    return {name: each / examples for name, each in total.items()}


def _products(program: Program, examples: int, task: str) -> Iterator[dict[str, Tensor]]:
    """Each weight times its gradient, of the loss of one example and then of the next."""
    from toolchain.data import task as tasks

    found = tasks.find(task or program.spec.name)
    net = copy.deepcopy(program.module)
    # In eval mode: BatchNorm of a batch of one example would make another net of it.
    learner = found.learner(found.around(net)).eval()
    net.requires_grad_(True)
    given = tasks.Examples(found, 1.0, 0, examples)
    for number in range(examples):
        net.zero_grad()
        loss: Tensor = learner(*(tensor[None] for tensor in given[number]))
        if not torch.isfinite(loss):
            raise RecipeMismatch(
                f"the loss of example {number} is {float(loss.detach())}",
                where=f"task of {found.spec.name}",
                do="rank channels by magnitude",
            )
        loss.backward()
        weights = net.named_parameters()
        yield {n: w.detach() * w.grad for n, w in weights if w.grad is not None}
