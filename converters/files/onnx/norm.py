"""Normalisations, those with constant scale and bias as PyTorch's own modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.files.onnx.call import Layer, NodeCall

BATCH_NORMS: tuple[Any, ...] = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""By rank, from 2 on."""
INSTANCE_NORMS: tuple[Any, ...] = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
"""By rank, from 3 on."""


def _weighted(call: NodeCall, module: Any, operands: tuple[int, ...] = (0,)) -> Layer:
    """A module whose weight and bias are the node's inputs 1 and 2."""
    module.weight = nn.Parameter(call.value(1).clone().reshape(module.weight.shape))
    if call.has(2):
        module.bias = nn.Parameter(call.value(2).clone().reshape(module.bias.shape))
    return Layer(module, operands, (1, 2))


def batch_normalization(call: NodeCall) -> Layer:
    read = call.read(epsilon=1e-5, momentum=0.9, spatial=1, training_mode=0, is_test=None)
    if read.training_mode:
        raise call.refuse("training mode", do="export the network in eval mode")
    if not read.spatial:
        raise call.refuse("spatial=0")
    call.only()
    if call.rank() < 2 or call.rank() > 5 or not call.is_constant(1, 2, 3, 4):
        return call.apply(_batch_norm, 0, 3, 4, 1, 2, eps=read.epsilon)
    module = BATCH_NORMS[call.rank() - 2](call.value(1).numel(), eps=read.epsilon)
    module.running_mean = call.value(3).clone()
    module.running_var = call.value(4).clone()
    made = _weighted(call, module)
    return Layer(made.module, (0,), (1, 2, 3, 4))


def _batch_norm(
    value: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    return F.batch_norm(value, mean, variance, weight, bias, eps=eps)


def instance_normalization(call: NodeCall) -> Layer:
    read = call.read(epsilon=1e-5)
    if not 3 <= call.rank() <= 5 or not call.is_constant(1, 2):
        return call.apply(_instance_norm, 0, 1, 2, eps=read.epsilon)
    kind = INSTANCE_NORMS[call.rank() - 3]
    return _weighted(call, kind(call.shape()[1], eps=read.epsilon, affine=True))


def _instance_norm(value: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return F.instance_norm(value, weight=weight, bias=bias, eps=eps)


def layer_normalization(call: NodeCall) -> Layer:
    read = call.read(axis=-1, epsilon=1e-5, stash_type=1)
    shape = call.shape()[call.axis(read.axis) :]
    weighted = [i for i in (1, 2) if call.has(i)]
    if any(call.wanted[1:]):
        return call.apply(_layer_norm_whole, 0, *weighted, count=len(shape), eps=read.epsilon)
    fits = all(call.shape(i) == shape for i in weighted)
    if fits and call.is_constant(1, 2):
        return _weighted(call, nn.LayerNorm(shape, eps=read.epsilon, bias=call.has(2)))
    function = _layer_norm if fits else _scaled_layer_norm
    return call.apply(function, 0, *weighted, shape=shape, eps=read.epsilon)


def _layer_norm(
    value: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    shape: Sequence[int],
    eps: float,
) -> Tensor:
    return F.layer_norm(value, list(shape), weight, bias, eps=eps)


def _scaled_layer_norm(*operands: Tensor, shape: Sequence[int], eps: float) -> Tensor:
    """With scales that are broadcast."""
    value, scale, *bias = operands
    value = F.layer_norm(value, list(shape), eps=eps) * scale
    return value + bias[0] if bias else value


def _layer_norm_whole(*operands: Tensor, count: int, eps: float) -> tuple[Tensor, ...]:
    """With the mean and the reciprocal of the deviation."""
    value, scale, *bias = operands
    axes = tuple(range(-count, 0))
    mean = value.mean(axes, keepdim=True)
    inverse = torch.rsqrt((value - mean).square().mean(axes, keepdim=True) + eps)
    found = (value - mean) * inverse * scale
    return found + bias[0] if bias else found, mean, inverse


def rms_normalization(call: NodeCall) -> Layer:
    read = call.read(axis=-1, epsilon=1e-5, stash_type=1)
    axes = tuple(range(call.axis(read.axis), call.rank()))
    return call.apply(_rms_norm, 0, 1, dim=axes, eps=read.epsilon)


def _rms_norm(value: Tensor, scale: Tensor, dim: tuple[int, ...], eps: float) -> Tensor:
    return value * torch.rsqrt(value.pow(2).mean(dim, keepdim=True) + eps) * scale


def group_normalization(call: NodeCall) -> Layer:
    """Scale and bias are of a group before version 21, of a channel since."""
    read = call.read(epsilon=1e-5, num_groups=None, stash_type=1)
    channels, groups = call.shape()[1], read.num_groups
    if not call.is_constant(1, 2):
        return call.apply(_group_norm, 0, 1, 2, groups=groups, eps=read.epsilon)
    module = nn.GroupNorm(groups, channels, eps=read.epsilon)
    weight, bias = (_by_channel(call.value(i), channels) for i in (1, 2))
    module.weight, module.bias = nn.Parameter(weight), nn.Parameter(bias)
    return Layer(module, (0,), (1, 2))


def _by_channel(scale: Tensor, channels: int) -> Tensor:
    return scale.repeat_interleave(channels // scale.numel()).clone()


def _group_norm(value: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    channels = value.shape[1]
    weight, bias = _by_channel(weight, channels), _by_channel(bias, channels)
    return F.group_norm(value, groups, weight, bias, eps)


def local_response_normalization(call: NodeCall) -> Layer:
    read = call.read(alpha=1e-4, beta=0.75, bias=1.0, size=None)
    if read.size % 2:
        return Layer(nn.LocalResponseNorm(read.size, read.alpha, read.beta, read.bias), (0,))
    return call.apply(_local_response, 0, **vars(read))


def _local_response(value: Tensor, alpha: float, beta: float, bias: float, size: int) -> Tensor:
    """Of an even size: one channel more after than before."""
    channels = value.shape[1]
    around = (0,) * 2 * (value.ndim - 2) + ((size - 1) // 2, size // 2)
    squares = F.pad(value.square(), around)
    total = sum(squares.narrow(1, shift, channels) for shift in range(size))
    return value / (bias + alpha / size * total) ** beta


def lp_normalization(call: NodeCall) -> Layer:
    read = call.read(axis=-1, p=2)
    return call.apply(_normalised, 0, p=read.p, dim=call.axis(read.axis))


def _normalised(value: Tensor, p: int, dim: int) -> Tensor:
    """Zeros become NaN, as ONNX has it; F.normalize leaves them zeros."""
    if p == 1:
        return value / value.abs().sum(dim, keepdim=True)
    return value / value.square().sum(dim, keepdim=True).sqrt()


def mean_variance_normalization(call: NodeCall) -> Layer:
    read = call.read(axes=(0, 2, 3))
    return call.apply(_mean_variance, 0, dim=tuple(read.axes))


def _mean_variance(value: Tensor, dim: tuple[int, ...]) -> Tensor:
    centred = value - value.mean(dim, keepdim=True)
    return centred / (centred.square().mean(dim, keepdim=True).sqrt() + 1e-9)
