"""Normalisation, softmax and attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from converters.mil.ops.signature import Ints, Op, channelwise


def _affine(x: Tensor, gamma: Tensor | None, beta: Tensor | None) -> Tensor:
    if gamma is not None:
        x = x * channelwise(gamma, x)
    return x if beta is None else x + channelwise(beta, x)


def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    return F.batch_norm(x, mean, variance, gamma, beta, False, 0.0, epsilon)


def instance_norm(
    x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5
) -> Tensor:
    """Over the spatial dimensions, for each sample and channel."""
    spatial = tuple(range(2, x.dim()))
    variance, mean = torch.var_mean(x, spatial, correction=0, keepdim=True)
    return _affine((x - mean) * torch.rsqrt(variance + epsilon), gamma, beta)


def layer_norm(
    x: Tensor,
    axes: Ints | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """`gamma` and `beta` have the sizes of `axes`, in their order."""
    over = sorted(a % x.dim() for a in (range(x.dim()) if axes is None else axes))
    variance, mean = torch.var_mean(x, over, correction=0, keepdim=True)
    y = (x - mean) * torch.rsqrt(variance + epsilon)
    shape = [n if axis in over else 1 for axis, n in enumerate(x.shape)]
    if gamma is not None:
        y = y * gamma.reshape(shape)
    return y if beta is None else y + beta.reshape(shape)


def l2_norm(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Over the last three dimensions together."""
    return x * torch.rsqrt(x.square().sum((-3, -2, -1), keepdim=True) + epsilon)


def local_response_norm(
    x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    return F.local_response_norm(x, size, alpha, beta, k)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    return torch.softmax(x, axis)


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask)


OPS: dict[str, Op] = {
    "batch_norm": Op(batch_norm),
    "instance_norm": Op(instance_norm),
    "l2_norm": Op(l2_norm),
    "layer_norm": Op(layer_norm),
    "local_response_norm": Op(local_response_norm),
    "scaled_dot_product_attention": Op(scaled_dot_product_attention, gives=("query",)),
    "softmax": Op(softmax),
}
