"""Fold each BatchNorm into the convolution or linear layer before it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from toolchain.passes.base import Pass

if TYPE_CHECKING:
    from torch import nn

    from converters.api import Program


@dataclass(frozen=True)
class FoldBatchnorm(Pass):
    """W' = W * gamma / sqrt(var + eps), b' = (b - mean) * gamma / sqrt(var + eps) + beta.

    Before: x -> Conv2d(W, b) -> BatchNorm2d -> y
    After:  x -> Conv2d(W', b') -> y
    Blocked where the layer's output has another use, where either module or its weight is used
    more than once, or where the BatchNorm keeps no running statistics. Ioffe and Szegedy 2015.
    """

    name: ClassVar[str] = "fold-batchnorm"
    exact: ClassVar[bool] = True

    def __call__(self, program: Program) -> Program:
        from torch import nn

        pairs = find_foldable_pairs(program)
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
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

    if isinstance(layer, nn.Linear):
        return fuse_linear_bn_eval(layer, batchnorm)
    return fuse_conv_bn_eval(layer, batchnorm, transpose=isinstance(layer, nn.ConvTranspose2d))


def find_foldable_pairs(program: Program) -> list[tuple[str, str]]:
    """The paths of each (convolution or linear layer, BatchNorm) that can be one layer."""
    from torch import nn

    from toolchain.quantization.consumers import find_pairs

    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    alone = find_pairs(program, dict.fromkeys((*convolutions, nn.Linear), ()), norms)
    layer: Any = program.module.get_submodule
    return [pair for pair in alone if layer(pair[1]).running_mean is not None]


def _replace(module: nn.Module, path: str, part: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, part)
