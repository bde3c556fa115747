"""Reductions, cumulative sums, and orders along an axis."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from converters.mil.ops.signature import Ints, Op, integral
from model_defs.errors import UnsupportedOperation


def reduction(function: Callable[[Tensor, Ints, bool], Tensor]) -> Callable[..., Tensor]:
    """An operation over `axes`, all of them where none are given."""

    def run(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
        over = tuple(range(x.dim())) if axes is None else axes
        if integral(x):
            return function(x.double(), over, keep_dims).to(x.dtype)
        return function(x, over, keep_dims)

    return run


def prod(x: Tensor, axes: Ints, keep: bool) -> Tensor:
    for axis in sorted((a % x.dim() for a in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _arg(
    function: Callable[..., Tensor],
) -> Callable[..., Tensor]:
    def run(
        x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32"
    ) -> Tensor:
        return function(x, axis, keepdim=keep_dims).to(_index_dtype(output_dtype))

    return run


def _index_dtype(name: str) -> torch.dtype:
    if name not in ("int32", "uint16"):
        raise UnsupportedOperation(f"indices of dtype '{name}'")
    return torch.int32


def cumsum(x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    if reverse:
        x = x.flip(axis)
    sums = x.cumsum(axis).to(x.dtype)
    if exclusive:
        sums = torch.cat(
            [torch.zeros_like(sums.narrow(axis, 0, 1)), sums.narrow(axis, 0, -1 + x.shape[axis])],
            axis,
        )
    return sums.flip(axis) if reverse else sums


def argsort(x: Tensor, axis: int = -1, ascending: bool = False) -> Tensor:
    return torch.argsort(x, dim=axis, descending=not ascending, stable=True).int()


def topk(
    x: Tensor,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> tuple[Tensor, ...]:
    """Without `sort` the order is free; sorted is one of them."""
    indices = torch.argsort(x, dim=axis, descending=not ascending, stable=True)
    indices = indices.narrow(axis, 0, k)
    values = x.gather(axis, indices)
    if not return_indices:
        return (values,)
    return values, indices.to(_index_dtype(output_indices_dtype))


def non_zero(x: Tensor) -> Tensor:
    return x.nonzero().int()


OPS: dict[str, Op] = {
    "argsort": Op(argsort, gives=("int32",)),
    "cumsum": Op(cumsum),
    "non_zero": Op(non_zero, gives=("int32",), reads_data=True),
    "reduce_argmax": Op(_arg(torch.argmax), gives=("=output_dtype",)),
    "reduce_argmin": Op(_arg(torch.argmin), gives=("=output_dtype",)),
    "reduce_l1_norm": Op(reduction(lambda x, axes, keep: x.abs().sum(axes, keep))),
    "reduce_l2_norm": Op(reduction(lambda x, axes, keep: x.square().sum(axes, keep).sqrt())),
    "reduce_log_sum": Op(reduction(lambda x, axes, keep: x.sum(axes, keep).log())),
    "reduce_log_sum_exp": Op(reduction(lambda x, axes, keep: x.logsumexp(axes, keep))),
    "reduce_max": Op(reduction(lambda x, axes, keep: x.amax(axes, keep)), moves=True),
    "reduce_mean": Op(reduction(lambda x, axes, keep: x.mean(axes, keep))),
    "reduce_min": Op(reduction(lambda x, axes, keep: x.amin(axes, keep)), moves=True),
    "reduce_prod": Op(reduction(prod)),
    "reduce_sum": Op(reduction(lambda x, axes, keep: x.sum(axes, keep))),
    "reduce_sum_square": Op(reduction(lambda x, axes, keep: x.square().sum(axes, keep))),
    "topk": Op(topk, gives=("x", "=output_indices_dtype"), many=True, moves=True),
}
