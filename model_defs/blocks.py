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
    biased: bool = False,
    activation: nn.Module | None = None,
) -> nn.Sequential:
    """Convolution, BatchNorm and an activation; (N, C, H, W) -> (N, C', H/s, W/s).

    The padding keeps the size at stride 1 and is the same on all sides (TensorFlow's SAME is
    not: at stride 2 it pads an even size at the right and bottom only).
    """
    padding = kernel // 2 * dilation
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, biased),
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


def foreground_of(logits: Tensor) -> Tensor:
    """Two logits (N, 2, H, W), background first -> the foreground's probability (N, 1, H, W).

    The second channel of a softmax over two, exactly, in half the output.
    """
    background, foreground = logits.chunk(2, 1)
    return (foreground - background).sigmoid()


RECTIFIED = 2 * math.pi / (math.pi - 1)
"""The variance that a kernel without mean needs, times fan-in, to keep rectified Gaussians' own:
E[relu(x)^2] - E[relu(x)]^2 = (1 - 1 / pi) / 2."""


def initialise(module: ModuleT, *, gain: float = 1.0, contrast: float = 1.0) -> ModuleT:
    """Fills `module` with numbers that make an untrained net's output vary, in eval mode.

    Draws from torch's global generator, which the caller seeds. Kernels keep the variance of
    rectified activations from layer to layer (He 2015), times `gain` squared; the first layer
    also amplifies by `contrast`. Dense kernels have no mean: that of rectified activations
    would otherwise add up layer by layer until the output is constant over the picture. They
    look like a tent with texture, so that the rounding noise of float16 does not outgrow the
    picture. BatchNorm is drawn away from identity, so that a wrong folding shows. Uniform
    draws and single roundings only: the same bits on every machine.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            _initialise_conv(layer, gain)
        elif isinstance(layer, nn.BatchNorm2d):
            _initialise_batchnorm(layer)
    stem = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
    stem.weight.data.mul_(contrast)
    for layer in module.modules():
        if isinstance(layer, nn.Sequential) and isinstance(layer[-1], nn.BatchNorm2d):
            layer[-1].weight.data.div_(math.sqrt(RECTIFIED))  # no ReLU follows
    return module.eval()


@torch.no_grad()
def _initialise_conv(conv: nn.Conv2d | nn.ConvTranspose2d, gain: float) -> None:
    if isinstance(conv, nn.ConvTranspose2d):
        kernel = _mixing(conv.weight.transpose(0, 1)).transpose(0, 1) * tent(conv)
    elif conv.groups > 1:
        bound = math.sqrt(6.0 / conv.weight[0].numel())
        kernel = _uniform(conv.weight, -bound, bound)
    else:
        window = tent(conv) * _uniform(conv.weight, 0.2, 1.8)
        whole = window.sum((2, 3), keepdim=True, dtype=torch.float64)
        kernel = (_mixing(conv.weight) / whole).float() * window
    conv.weight.copy_(kernel * gain)
    if conv.bias is not None:
        conv.bias.copy_(_uniform(conv.bias, -0.05, 0.05))


def _mixing(weight: Tensor) -> Tensor:
    """How outputs mix inputs, (outputs, inputs, 1, 1): no mean; a single input stays as it is."""
    outputs, inputs = weight.shape[:2]
    if inputs == 1:
        return torch.ones(outputs, 1, 1, 1, device=weight.device)
    bound = math.sqrt(3.0 * RECTIFIED / inputs)  # the variance of U(-b, b) is b * b / 3
    drawn = _uniform(weight[:, :, :1, :1], -bound, bound)
    return drawn - drawn.mean(1, keepdim=True, dtype=torch.float64)


def tent(conv: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """The bilinear kernel of the size of conv's; a transposed one of 2S x 2S upsamples by S."""
    rows, columns = (_ramp(size, conv.weight) for size in conv.kernel_size)
    return rows[:, None] * columns


def _ramp(size: int, like: Tensor) -> Tensor:
    distance = torch.arange(size, device=like.device) - (size - 1) / 2
    return 1 - distance.abs() / ((size + 1) // 2)


@torch.no_grad()
def _initialise_batchnorm(norm: nn.BatchNorm2d) -> None:
    norm.weight.copy_(_uniform(norm.weight, 0.8, 1.2))
    norm.bias.copy_(_uniform(norm.bias, -0.1, 0.1))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(_uniform(norm.running_mean, -0.1, 0.1))
    norm.running_var.copy_(_uniform(norm.running_var, 0.6, 1.4))


def _uniform(like: Tensor, low: float, high: float) -> Tensor:
    return torch.rand(like.shape, device=like.device) * (high - low) + low
