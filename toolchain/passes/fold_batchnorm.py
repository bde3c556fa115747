"""Fold each BatchNorm into the convolution or linear layer before it."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from converters.api import Program
from converters.capture import trace

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


def foldable_pairs(program: Program) -> list[tuple[str, str]]:
    """The paths of each (convolution or linear layer, BatchNorm) that can be one layer."""
    traced = trace(program)
    graph = traced.inlined_graph
    nodes = list(graph.nodes())
    calls = Counter((_path(n), n.kind()) for n in nodes)
    shared = _shared_parameters(program.module)
    pairs = []
    for node in nodes:
        if node.kind() != "aten::batch_norm":
            continue
        source = next(iter(node.inputs())).node()
        layer = _called_once(program.module, source, calls, PRODUCERS)
        norm = _called_once(program.module, node, calls, BATCHNORMS)
        alone = len(next(iter(source.outputs())).uses()) == 1
        if layer and norm and alone and not shared & {layer, norm} and _keeps(program, norm):
            pairs.append((layer, norm))
    return pairs


def _path(node: torch._C.Node) -> str:
    return node.scopeName().split("/")[-1].removeprefix("__module.")


def _called_once(
    module: nn.Module, node: torch._C.Node, calls: Counter, kinds: tuple[type[nn.Module], ...]
) -> str:
    """The path of the module that made this node, if it is of these kinds and runs once."""
    path = _path(node)
    if not path or calls[path, node.kind()] != 1:
        return ""
    return path if isinstance(module.get_submodule(path), kinds) else ""


def _keeps(program: Program, norm: str) -> bool:
    return program.module.get_submodule(norm).running_mean is not None


def _shared_parameters(module: nn.Module) -> set[str]:
    """The paths of the modules that hold a parameter which another module holds, too."""
    holders: dict[int, set[str]] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        for parameter in part.parameters(recurse=False):
            holders.setdefault(id(parameter), set()).add(path)
    return {path for paths in holders.values() if len(paths) > 1 for path in paths}


def _replace(module: nn.Module, path: str, part: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, part)
