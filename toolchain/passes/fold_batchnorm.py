"""Fold each BatchNorm into the convolution or linear layer before it."""

from __future__ import annotations

import copy
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from converters.api import Program
from converters.capture import example

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
PRODUCERS = (*CONVOLUTIONS, nn.Linear)
BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class FoldBatchnorm:
    """W' = W * gamma / sqrt(var + eps), b' = (b - mean) * gamma / sqrt(var + eps) + beta.

    Before: x -> Conv2d(W, b) -> BatchNorm2d -> y
    After:  x -> Conv2d(W', b') -> y
    Blocked where the layer's output has another use, where either module or its weight is used
    more than once, or where the BatchNorm keeps no running statistics. Ioffe and Szegedy 2015.
    """

    name: ClassVar[str] = "fold-batchnorm"
    exact: ClassVar[bool] = True

    def __call__(self, program: Program) -> Program:
        pairs = foldable_pairs(program)
        if not pairs:
            return program
        module = copy.deepcopy(program.module)
        for producer, norm in pairs:
            fused = _fuse(module.get_submodule(producer), module.get_submodule(norm))
            _replace(module, producer, fused)
            _replace(module, norm, nn.Identity())
        module.requires_grad_(False)
        return replace(program, module=module)


def _fuse(layer: Any, batchnorm: Any) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return fuse_linear_bn_eval(layer, batchnorm)
    return fuse_conv_bn_eval(layer, batchnorm, transpose=isinstance(layer, nn.ConvTranspose2d))


@dataclass
class _Result:
    """Of one call of a layer: which layer, and how often its result was used."""

    layer: str
    uses: int = 0


class _CountUses(TorchFunctionMode):
    """Counts the calls that make a tensor from a layer's result, or from a module's numbers."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.numbers = Counter({id(t): 0 for t in [*module.parameters(), *module.buffers()]})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(map(torch.is_tensor, tree_leaves(result))):
            self.count((args, kwargs))
        return result

    def count(self, values: Any) -> None:
        for value in tree_leaves(values):
            if made := getattr(value, "mlship_result", None):
                made.uses += 1
            if id(value) in self.numbers:
                self.numbers[id(value)] += 1

    def once(self, module: nn.Module) -> bool:
        """Whether no number of the module was used twice: so by the module alone."""
        tensors = [*module.parameters(), *module.buffers()]
        return all(self.numbers[id(t)] <= 1 for t in tensors)


def foldable_pairs(program: Program) -> list[tuple[str, str]]:
    """The paths of each (convolution or linear layer, BatchNorm) that can be one layer.

    Seen in one run of the module. Subclasses are left alone: their forward may do more.
    """
    met: list[tuple[_Result, str]] = []
    module = program.module
    uses = _CountUses(module)

    def after_layer(path: str, result: torch.Tensor) -> None:
        result.mlship_result = _Result(path)  # type: ignore[attr-defined]

    def before_norm(path: str, given: torch.Tensor) -> None:
        if made := getattr(given, "mlship_result", None):
            met.append((made, path))

    with ExitStack() as stack:
        for path, part in module.named_modules():
            if type(part) in PRODUCERS:
                hook = part.register_forward_hook(lambda m, x, y, p=path: after_layer(p, y))
                stack.callback(hook.remove)
            elif type(part) in BATCHNORMS and part.running_mean is not None:
                before = part.register_forward_pre_hook(lambda m, x, p=path: before_norm(p, x[0]))
                stack.callback(before.remove)
        with torch.no_grad(), uses:
            returned = module(*example(program.spec))
    uses.count(returned)
    return [
        (made.layer, norm)
        for made, norm in met
        if made.uses == 1
        if all(uses.once(module.get_submodule(path)) for path in (made.layer, norm))
    ]


def _replace(module: nn.Module, path: str, part: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, part)
