"""Operations that make one number of many along axes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from converters.files.onnx.call import Function, Implementation, Layer, NodeCall


def reduction(function: Function) -> Implementation:
    """A reduction whose function takes the axes and whether they stay."""

    def made(call: NodeCall) -> Layer:
        read = call.read(axes=None, keepdims=1, noop_with_empty_axes=0)
        axes = call.listed(read.axes, 1, "axes")
        if not axes:
            if read.noop_with_empty_axes:
                return call.apply(_alone, 0, function=function)
            axes = range(call.rank())
        dim = tuple(call.axis(axis) for axis in axes)
        if not dim:
            return call.apply(_alone, 0, function=function)
        return call.apply(function, 0, dim=dim, keepdim=bool(read.keepdims))

    return made


def _alone(value: Tensor, function: Function) -> Any:
    """Over no axis: what is done to each number still is."""
    return function(value.unsqueeze(-1), dim=(-1,), keepdim=False)


def l1(value: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return value.abs().sum(dim, keepdim=keepdim)


def l2(value: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return value.square().sum(dim, keepdim=keepdim).sqrt()


def log_sum(value: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return value.sum(dim, keepdim=keepdim).log()


def log_sum_exp(value: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.logsumexp(value, dim, keepdim=keepdim)


def square_sum(value: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return value.square().sum(dim, keepdim=keepdim)


def total(value: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return value.sum(dim, keepdim=keepdim, dtype=value.dtype)


def product(value: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    for axis in sorted(dim, reverse=True):
        value = value.prod(axis, keepdim=keepdim, dtype=value.dtype)
    return value


def largest(value: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    if value.dtype == torch.bool:
        return torch.amax(value.to(torch.uint8), dim, keepdim=keepdim).to(torch.bool)
    return torch.amax(value, dim, keepdim=keepdim)


def smallest(value: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    if value.dtype == torch.bool:
        return torch.amin(value.to(torch.uint8), dim, keepdim=keepdim).to(torch.bool)
    return torch.amin(value, dim, keepdim=keepdim)


def arg(function: Function) -> Implementation:
    """Where the largest, or the smallest, is; of equals the first, or the last."""

    def made(call: NodeCall) -> Layer:
        read = call.read(axis=0, keepdims=1, select_last_index=0)
        dim = call.axis(read.axis)
        if read.select_last_index:
            return call.apply(_last, 0, function=function, dim=dim, keepdim=bool(read.keepdims))
        return call.apply(function, 0, dim=dim, keepdim=bool(read.keepdims))

    return made


def _last(value: Tensor, function: Function, dim: int, keepdim: bool) -> Tensor:
    place: Tensor = function(value.flip(dim), dim=dim, keepdim=keepdim)
    return value.shape[dim] - 1 - place


def cumulative_sum(call: NodeCall) -> Layer:
    read = call.read(exclusive=0, reverse=0)
    dim = call.axis(call.number(1, "axis"))
    return call.apply(
        _cumulative, 0, dim=dim, exclusive=bool(read.exclusive), backwards=bool(read.reverse)
    )


def _cumulative(value: Tensor, dim: int, exclusive: bool, backwards: bool) -> Tensor:
    if backwards:
        value = value.flip(dim)
    found = value.cumsum(dim, dtype=value.dtype)
    if exclusive:
        found = found - value
    return found.flip(dim) if backwards else found


def top_k(call: NodeCall) -> Layer:
    read = call.read(axis=-1, k=None, largest=1, sorted=1)
    count = read.k if read.k is not None else call.number(1, "count")
    return call.apply(_top_k, 0, k=int(count), dim=call.axis(read.axis), largest=bool(read.largest))


def _top_k(value: Tensor, k: int, dim: int, largest: bool) -> tuple[Tensor, Tensor]:
    """Of equals the first comes first: sorted, which torch.topk does not promise."""
    found, places = torch.sort(value, dim=dim, descending=largest, stable=True)
    return found.narrow(dim, 0, k), places.narrow(dim, 0, k)
