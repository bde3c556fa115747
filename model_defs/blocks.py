"""Layers that two models share, and the initialisation of nets without trained weights."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def conv_bn(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    activation: nn.Module | None = None,
) -> nn.Sequential:
    """Convolution without bias, BatchNorm and an activation; (N, C, H, W) -> (N, C', H/s, W/s).

    The padding keeps the size at stride 1 and is the same on all sides (TensorFlow's SAME is
    not: at stride 2 it pads an even size at the right and bottom only).
    """
    padding = kernel // 2 * dilation
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([activation] if activation is not None else []))


def separable(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """A depthwise `conv_bn`, then a pointwise one, each with the activation."""
    return nn.Sequential(
        conv_bn(
            inputs,
            inputs,
            kernel,
            stride=stride,
            dilation=dilation,
            groups=inputs,
            activation=activation(),
        ),
        conv_bn(inputs, outputs, 1, activation=activation()),
    )


def initialise(module: ModuleT) -> ModuleT:
    """Fills `module` with numbers that make an untrained net's output vary, and returns it.

    Draws from torch's global generator, which the caller seeds. Kernels have He's variance,
    2 / fan-in (He 2015, eq. 10), and no mean over a dense kernel: the mean of rectified
    activations would otherwise add up layer by layer until the output is constant over the
    picture. BatchNorm is drawn away from identity, so that a wrong folding shows. Uniform
    draws and single roundings only: the same bits on every machine.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            _initialise_conv(layer)
        elif isinstance(layer, nn.BatchNorm2d):
            _initialise_batchnorm(layer)
    return module


@torch.no_grad()
def _initialise_conv(conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
    transposed = isinstance(conv, nn.ConvTranspose2d)
    fan_in = conv.in_channels // conv.groups * math.prod(conv.kernel_size)
    if transposed:
        fan_in //= math.prod(conv.stride)  # the taps that meet in one output
    bound = math.sqrt(6.0 / fan_in)  # the variance of U(-b, b) is b * b / 3
    weight = _uniform(conv.weight, -bound, bound)
    if conv.groups == 1 and fan_in > 1:
        weight = weight - weight.mean(dim=(0, 2, 3) if transposed else (1, 2, 3), keepdim=True)
    conv.weight.copy_(weight)
    if conv.bias is not None:
        conv.bias.copy_(_uniform(conv.bias, -0.1, 0.1))


@torch.no_grad()
def _initialise_batchnorm(norm: nn.BatchNorm2d) -> None:
    norm.weight.copy_(_uniform(norm.weight, 0.85, 1.2))
    norm.bias.copy_(_uniform(norm.bias, -0.2, 0.2))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(_uniform(norm.running_mean, -0.2, 0.2))
    norm.running_var.copy_(_uniform(norm.running_var, 0.6, 1.4))


def _uniform(like: Tensor, low: float, high: float) -> Tensor:
    return torch.rand(like.shape, device=like.device) * (high - low) + low
