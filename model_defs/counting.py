"""The size and the work of a net, counted without allocating it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from model_defs.spec import ModelSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Counts:
    """Trained numbers of a net and its multiply-adds for one picture."""

    parameters: int
    macs: int


def count(spec: ModelSpec) -> Counts:
    """Builds a model on the meta device, where tensors have a shape and no numbers."""
    with torch.device("meta"):
        module = spec.build().eval()
        inputs = [torch.empty(tensor.shape) for tensor in spec.inputs]
    return Counts(parameters(module), macs(module, inputs))


def parameters(module: nn.Module) -> int:
    """Trained numbers: BatchNorm's running statistics and other buffers are not counted."""
    return sum(parameter.numel() for parameter in module.parameters())


def macs(module: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Multiply-adds of the convolutions and matrix products in one call of `module`."""
    return counted(lambda: module(*inputs))[1]


@torch.no_grad()
def counted(run: Callable[[], T]) -> tuple[T, int]:
    """What something gives, and the multiply-adds that it took."""
    with FlopCounterMode(display=False) as counter:
        result = run()
    return result, counter.get_total_flops() // 2  # a multiply-add is two operations there
