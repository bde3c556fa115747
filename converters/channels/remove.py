"""Takes places out of a module's tensors, and makes its layers say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from converters.channels.follow import stored

Place = tuple[str, int]
"""A dimension of a stored tensor, by the tensor's first name."""

Cuts = Mapping[Place, np.ndarray]
"""The indices that are taken out at each place."""


def remove(module: nn.Module, cuts: Cuts) -> None:
    """Takes out the indices, in the module itself; shared tensors stay shared."""
    changed: dict[int, Tensor] = {}
    for name, tensor in stored(module).items():
        made: Tensor = tensor
        for place in range(tensor.ndim):
            made = _without(made, place, cuts.get((name, place)))
        if made is not tensor:
            changed[id(tensor)] = _like(tensor, made)
    for layer in module.modules():
        before = getattr(layer, "weight", None)
        if _exchange(layer._parameters, changed) | _exchange(layer._buffers, changed):
            _say_so(layer, before)


def _without(tensor: Tensor, place: int, gone: np.ndarray | None) -> Tensor:
    if gone is None or not len(gone):
        return tensor
    left = np.delete(np.arange(tensor.shape[place]), gone)
    with torch.no_grad():
        return tensor.index_select(place, torch.from_numpy(left))


def _like(old: Tensor, made: Tensor) -> Tensor:
    if isinstance(old, nn.Parameter):
        return nn.Parameter(made, requires_grad=old.requires_grad)
    return made


def _exchange(tensors: dict[str, Any], changed: Mapping[int, Tensor]) -> bool:
    found = {name: changed[id(t)] for name, t in tensors.items() if id(t) in changed}
    tensors.update(found)
    return bool(found)


def _say_so(layer: nn.Module, before: Tensor | None) -> None:
    """Writes the new widths where the layer says its own; `before` is its old weight."""
    if isinstance(layer, _ConvNd):
        assert before is not None
        _say_so_of_convolution(layer, before)
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, _NormBase):
        kept = layer.weight if layer.weight is not None else layer.running_mean
        assert kept is not None
        layer.num_features = len(kept)
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)


def _say_so_of_convolution(layer: _ConvNd, before: Tensor) -> None:
    first, second = layer.weight.shape[:2]
    depthwise = layer.groups == layer.in_channels and second == 1
    if depthwise:
        layer.groups = layer.groups * first // before.shape[0]
    if layer.transposed:
        layer.in_channels, layer.out_channels = first, second * layer.groups
    else:
        layer.out_channels, layer.in_channels = first, second * layer.groups
