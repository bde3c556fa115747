"""Training through the rounding of a recipe: gradients pass as if it rounded nothing.

Bengio 2013 (the straight-through estimator), Jacob 2018, section 3. Kernels are rounded as they
are at each step, activations onto the grids of the weights that training starts from. BatchNorm
computes with what it knew then: a recipe rounds kernels that it is folded into.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.capture import capture
from converters.encodings import Encoding
from model_defs.errors import RecipeMismatch
from toolchain.data.task import Task
from toolchain.passes.fold_batchnorm import find_foldable_pairs
from toolchain.quantization.activations import Grid, OnGrids
from toolchain.quantization.grids import symmetric
from toolchain.recipes import recipes


@dataclass(frozen=True)
class Rounding:
    """Of a layer: how its kernel is stored, the grid of what it reads, the BatchNorm after it."""

    kernel: Encoding
    reads: Grid | None
    norm: str | None


def of_recipe(task: Task, text: str, base: Path) -> Mapping[str, Rounding]:
    """What a recipe makes of each layer of a model with the weights in a file, by its path.

    RecipeMismatch for one that takes channels out, or rounds nothing or not all that it rounds to
    integers with a scale for each channel.
    """
    recipe = recipes.find(text)
    if recipe.pruned == "required" or recipe.prunes:
        raise RecipeMismatch(
            f"recipe {text} takes channels out", do="mlship prune, then train --from"
        )
    program = capture(task.spec, base)
    norms = dict(find_foldable_pairs(program))
    for step in recipe.load():
        program = step(program)
    grids = {n.rpartition(".")[0]: e for n, e in program.encodings.items() if e.is_grid}
    found = {path: e for path, e in grids.items() if e.dtype.startswith("int") and not e.block}
    if not found or len(found) < len(grids):
        what = "not all" if found else "nothing"
        raise RecipeMismatch(
            f"recipe {text} rounds {what} to what can be trained through",
            do="use int8, weights-int8, weights-int6 or weights-int4",
        )
    reads = program.module.grids.reads if isinstance(program.module, OnGrids) else {}
    return {path: Rounding(k, reads.get(path), norms.get(path)) for path, k in found.items()}


def put(net: nn.Module, layers: Mapping[str, Rounding]) -> None:
    """Makes these layers of a net compute with rounded numbers; its own stay as they are."""
    for path, rounding in layers.items():
        layer, norm = net.get_submodule(path), _norm(net, rounding)
        if norm is not None:
            norm.train = partial(_still, norm)  # type: ignore[method-assign]
            norm.eval()
        layer.forward = partial(_computed, layer, rounding, norm)


@torch.no_grad()
def settle(net: nn.Module, layers: Mapping[str, Rounding]) -> None:
    """Rounds the kernels of these layers for good: on them, the recipe will change nothing."""
    for path, rounding in layers.items():
        layer: Any = net.get_submodule(path)
        norm = _norm(net, rounding)
        layer.weight.copy_(_rounded(layer, rounding.kernel, norm))


def _norm(net: nn.Module, rounding: Rounding) -> nn.Module | None:
    return net.get_submodule(rounding.norm) if rounding.norm is not None else None


def _still(norm: nn.Module, mode: bool = True) -> nn.Module:
    """A BatchNorm that stays in eval mode."""
    norm.training = False
    return norm


def _computed(layer: Any, rounding: Rounding, norm: nn.Module | None, x: Tensor) -> Tensor:
    kernel, bias = _rounded(layer, rounding.kernel, norm), layer.bias
    if rounding.reads is not None:
        x = rounding.reads.rounded(x.float())
    if isinstance(layer, nn.Linear):
        return F.linear(x, kernel, bias)
    if isinstance(layer, nn.ConvTranspose2d):
        how: Any = [layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation]
        transposed: Tensor = F.conv_transpose2d(x, kernel, bias, *how)
        return transposed
    assert isinstance(layer, nn.Conv2d)
    return layer._conv_forward(x, kernel, bias)


def _rounded(layer: Any, grid: Encoding, norm: nn.Module | None) -> Tensor:
    """The kernel whose product with the BatchNorm's factor is on the grid that a pass chooses."""
    sizes = [1] * layer.weight.dim()
    sizes[grid.axis] = -1
    factor: Any = 1.0 if norm is None else _factor(norm).reshape(sizes)
    kernel = layer.weight * factor
    # The grid is chosen anew at each step, as the pass will: on a fixed one kernels could not grow.
    chosen = symmetric(grid.dtype)("", kernel.detach().cpu().numpy(), grid.axis)
    scales = torch.tensor(chosen.scales, device=kernel.device)
    zeros = torch.zeros_like(scales, dtype=torch.int32)
    codes = -grid.top, grid.top
    # Divided by the factor again: the BatchNorm behind multiplies by it, and the gradient of the
    # kernel is then that of a layer without rounding.
    return torch.fake_quantize_per_channel_affine(kernel, scales, zeros, grid.axis, *codes) / factor


def _factor(norm: Any) -> Tensor:
    """What a BatchNorm multiplies each channel by, which is not to be learned through this."""
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return factor.detach()
