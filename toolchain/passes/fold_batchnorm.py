"""Fold each BatchNorm into the convolution or linear layer before it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from toolchain.passes.base import Pass

if TYPE_CHECKING:
    from torch import Tensor, fx, nn

    from converters.api import Program
    from converters.graph.captured import CapturedGraph


@dataclass(frozen=True)
class FoldBatchnorm(Pass):
    """W' = W * gamma / sqrt(var + eps), b' = (b - mean) * gamma / sqrt(var + eps) + beta.

    Before: x -> Conv2d(W, b) -> BatchNorm2d -> y
    After:  x -> Conv2d(W', b') -> y
    Blocked where the layer's output has another use, where either module or its weight is used
    more than once, where a hook makes the weight, where the BatchNorm keeps no running statistics,
    or where it scales tokens and not the features of a linear layer. Ioffe and Szegedy 2015.
    """

    name: ClassVar[str] = "fold-batchnorm"
    exact: ClassVar[bool] = True

    def __call__(self, program: Program) -> Program:
        from torch import nn

        from converters.program_graph import captured_of, with_module

        pairs = find_foldable_pairs(program)
        if not pairs:
            return program
        module = copy.deepcopy(program.module)
        for producer, norm in pairs:
            fused = _fuse(module.get_submodule(producer), module.get_submodule(norm))
            _replace(module, producer, fused)
            _replace(module, norm, nn.Identity())
        module.requires_grad_(False)
        known = captured_of(program)
        if not all(_takes_a_bias(known, producer) for producer, _ in pairs):
            return replace(program, module=module)  # captured again
        return with_module(program, module, partial(_without, pairs))


def _takes_a_bias(graph: CapturedGraph, path: str) -> bool:
    """Whether a layer's last operation is its own: a filled-up deconvolution adds a bias behind."""
    last = graph.by_module[path][-1]
    weight = last.args[1] if len(last.args) > 1 else None
    return getattr(weight, "target", None) == f"{path}.weight"


def _fuse(layer: Any, batchnorm: Any) -> nn.Module:
    """The layer with the norm in its weight; PyTorch's own takes no groups of a transposed one."""
    import torch
    from torch import nn

    fused: nn.Module = copy.deepcopy(layer)
    with torch.no_grad():
        root = torch.rsqrt(batchnorm.running_var + batchnorm.eps)
        gain = torch.ones_like(root) if batchnorm.weight is None else batchnorm.weight
        shift = 0 if batchnorm.bias is None else batchnorm.bias
        bias = 0 if layer.bias is None else layer.bias
        fused.weight = nn.Parameter(_scaled(layer, gain * root))
        fused.bias = nn.Parameter((bias - batchnorm.running_mean) * root * gain + shift)
    return fused


def _scaled(layer: Any, scale: Tensor) -> Tensor:
    """The weight, of which what makes each channel is multiplied."""
    from torch import nn

    transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    weight: Tensor = layer.weight
    ones = (1,) * (weight.ndim - 2)
    if not isinstance(layer, transposed):
        return weight * scale.reshape(-1, 1, *ones)
    groups = weight.unflatten(0, (layer.groups, -1))
    scaled = groups * scale.reshape(layer.groups, 1, -1, *ones)
    return scaled.flatten(0, 1)


def _without(pairs: list[tuple[str, str]], graph: fx.Graph) -> None:
    """Takes the BatchNorms of these pairs out of a graph."""
    from converters.graph.sources import module_of

    # The last operation is the layer's own: one that pads by reflection pads before.
    last = {module_of(node): node for node in graph.nodes if node.op == "call_function"}
    for path, norm in pairs:
        layer = last[path]
        last[norm].replace_all_uses_with(layer)
        graph.erase_node(last[norm])
        if len(layer.args) < 3 or layer.args[2] is None:
            with graph.inserting_after(layer.args[1]):
                bias = graph.get_attr(f"{path}.bias")
            layer.args = (*layer.args[:2], bias, *layer.args[3:])
    graph.eliminate_dead_code()


def find_foldable_pairs(program: Program) -> list[tuple[str, str]]:
    """The paths of each (convolution or linear layer, BatchNorm) that can be one layer."""
    from torch import nn

    from converters.program_graph import captured_of
    from toolchain.quantization.consumers import find_pairs

    plain = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    alone = find_pairs(program, dict.fromkeys((*plain, *transposed, nn.Linear), ()), norms)
    layer: Any = program.module.get_submodule
    pairs = [
        (maker, norm)
        for maker, norm in alone
        # A hook or a property of the user's may compute the weight at each call.
        if layer(norm).running_mean is not None and isinstance(layer(maker).weight, nn.Parameter)
    ]
    graph = captured_of(program)
    return [pair for pair in pairs if not _is_over_tokens(layer(pair[0]), graph, pair[1])]


def _is_over_tokens(maker: nn.Module, graph: CapturedGraph, norm: str) -> bool:
    """Of (N, tokens, features) a norm scales tokens, where a linear layer makes features."""
    from torch import nn

    read: Any = graph.by_module[norm][-1].args[0]
    return isinstance(maker, nn.Linear) and read.meta["val"].ndim > 2


def _replace(module: nn.Module, path: str, part: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, part)
