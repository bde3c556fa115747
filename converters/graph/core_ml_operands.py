"""Operands that Core ML does not take: integers, truth values, vectors, computed parameters.

The rules are `converters.mil.rules`; what is written instead is in both PyTorch and Core ML.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from converters.graph import core_ml

aten: Any = torch.ops.aten

Run = Callable[..., Any]
When = Callable[[fx.Node], bool]


def of_integers(node: fx.Node) -> bool:
    """Whether the first operand is of integers or truth values."""
    source: Any = node.args[0]
    dtype = source.meta["val"].dtype
    return not dtype.is_floating_point and not dtype.is_complex


def of_floats(packet: Any) -> Run:
    """A function of numbers, of integers as of floats."""
    return lambda x, *how, **named: packet(x.to(torch.float32), *how, **named)


def positive(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    return torch.softmax(x.to(torch.float32 if dtype is None else dtype), dim)


def truths(packet: Any) -> Run:
    """A logical operation on numbers: those that are not 0 are true.

    coremltools drops the rounding of a float to an integer on its way to a truth value.
    """
    return lambda *operands: packet(*(x if x.dtype is torch.bool else x != 0 for x in operands))


def of_numbers(node: fx.Node) -> bool:
    """Whether an operand of a logical operation is no truth value."""
    operands: Any = node.args
    return any(one.meta["val"].dtype is not torch.bool for one in operands)


def as_truths(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x != 0


def becomes_truths(node: fx.Node) -> bool:
    source: Any = node.args[0]
    return node.meta["val"].dtype is torch.bool and source.meta["val"].dtype is not torch.bool


def any_of(x: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The largest truth value."""
    return x.to(torch.int32).amax(dim, keepdim) != 0


def all_of(x: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    return x.to(torch.int32).amin(dim, keepdim) != 0


def vector_product(x: Tensor, y: Tensor) -> Tensor:
    """x @ y, where one has no rows or no columns: as a matrix of one."""
    left = x.unsqueeze(0) if x.ndim == 1 else x
    right = y.unsqueeze(-1) if y.ndim == 1 else y
    found = torch.matmul(left, right)
    found = found.squeeze(-2) if x.ndim == 1 else found
    return found.squeeze(-1) if y.ndim == 1 else found


def of_vectors(node: fx.Node) -> bool:
    operands: Any = node.args
    return any(one.meta["val"].ndim == 1 for one in operands)


def cumulative_sum(x: Tensor, dim: int, **named: Any) -> Tensor:
    return torch.cumsum(x, dim % x.ndim, **named)


def counts_from_the_end(node: fx.Node) -> bool:
    axis: Any = node.args[1]
    return bool(axis < 0)


def slopes(x: Tensor, weight: Tensor) -> Tensor:
    """prelu on other than four axes."""
    shape = (1, -1, *(1,) * (x.ndim - 2)) if x.ndim > 1 else (-1,)
    return torch.where(x > 0, x, x * weight.reshape(shape))


def has_slopes(node: fx.Node) -> bool:
    x, weight = (one.meta["val"] for one in node.args)  # type: ignore[union-attr]
    return bool(x.ndim != 4 and weight.numel() > 1)


def pixel_shuffle(x: Tensor, factor: int) -> Tensor:
    """Of one picture, or of integers: an axis for each part of a place."""
    channels, height, width = x.shape[-3:]
    y = x.reshape(-1, factor, factor, height, width).permute(0, 3, 1, 4, 2)
    return y.reshape(*x.shape[:-3], channels // factor**2, height * factor, width * factor)


def pixel_unshuffle(x: Tensor, factor: int) -> Tensor:
    channels, height, width = x.shape[-3:]
    y = x.reshape(-1, height // factor, factor, width // factor, factor).permute(0, 2, 4, 1, 3)
    return y.reshape(*x.shape[:-3], channels * factor**2, height // factor, width // factor)


def is_no_batch_of_floats(node: fx.Node) -> bool:
    source: Any = node.args[0]
    return bool(source.meta["val"].ndim != 4 or of_integers(node))


def instance_norm_of_volumes(
    x: Tensor,
    weight: Any,
    bias: Any,
    mean: Any,
    variance: Any,
    use: bool,
    rate: float,
    eps: float,
    *_: Any,
) -> Tensor:
    axes = list(range(2, x.ndim))
    off = x - x.mean(axes, keepdim=True)
    return scaled(off * torch.rsqrt((off * off).mean(axes, keepdim=True) + eps), weight, bias)


def scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """By channel."""
    shape = (-1, *(1,) * (x.ndim - 2))
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def is_volume_or_computed(node: fx.Node) -> bool:
    source: Any = node.args[0]
    return bool(node.args[5]) and (source.meta["val"].ndim > 4 or computed(1, 2)(node))


def computed(*places: int) -> When:
    """Whether one of these arguments is neither left out nor a constant."""

    def when(node: fx.Node) -> bool:
        given = [node.args[i] for i in places if i < len(node.args)]
        return any(isinstance(one, fx.Node) and one.op != "get_attr" for one in given)

    return when


def convolution_and_bias(packet: Any) -> Run:
    """A bias that is computed is added."""
    return lambda x, weight, bias, *how: scaled(packet(x, weight, None, *how), None, bias)


def layer_norm(
    x: Tensor, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Tensor:
    """A scale and an offset that are computed are multiplied and added."""
    y = torch.nn.functional.layer_norm(x, shape, None, None, eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def batch_norm(x: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, *how: Any) -> Tensor:
    return scaled(aten.batch_norm(x, None, None, mean, variance, *how), weight, bias)


def whole_einsum(equation: str, operands: Any, **_: Any) -> Tensor:
    """Of two operands of integers: all products, then sums."""
    terms, letters = _terms(equation)
    product: Any = 1
    for term, one in zip(terms[:-1], operands, strict=True):
        order = sorted(range(len(term)), key=lambda i: letters.index(term[i]))
        sizes = iter(one.permute(order).shape)
        shape = [next(sizes) if letter in term else 1 for letter in letters]
        product = product * one.permute(order).reshape(shape)
    dropped = [i for i, letter in enumerate(letters) if letter not in terms[-1]]
    left = [letter for letter in letters if letter in terms[-1]]
    found = product.sum(dropped) if dropped else product
    return found.permute([left.index(letter) for letter in terms[-1]])


def _terms(equation: str) -> tuple[list[str], str]:
    """The operands' letters and the result's, and all letters in order."""
    factors, _, result = equation.replace(" ", "").partition("->")
    terms = [*factors.split(","), result]
    return terms, "".join(dict.fromkeys("".join(terms[:-1])))


def is_whole_einsum(node: fx.Node) -> bool:
    equation: Any = node.args[0]
    terms, letters = _terms(equation)
    plain = "->" in equation and "." not in equation and len(terms) == 3 and len(letters) <= 5
    distinct = all(len(set(term)) == len(term) for term in terms)
    return plain and distinct and not node.meta["val"].is_floating_point()


FUNCTIONS = (
    *(
        "acos",
        "asin",
        "atan",
        "atanh",
        "cos",
        "cosh",
        "erf",
        "exp",
        "exp2",
        "log",
        "log10",
        "log1p",
    ),
    *("log2", "rsqrt", "sigmoid", "sin", "sinh", "sqrt", "tan", "tanh"),
)


def rules(rule: Callable[[Run, When], Any]) -> dict[Any, Any]:
    """What is written for which operation, and when."""
    found = {
        getattr(aten, name): rule(of_floats(getattr(aten, name)), of_integers) for name in FUNCTIONS
    }
    for name in ("logical_and", "logical_not", "logical_or", "logical_xor"):
        found[getattr(aten, name)] = rule(truths(getattr(aten, name)), of_numbers)
    for name in ("conv1d", "conv2d", "conv3d"):
        found[getattr(aten, name)] = rule(convolution_and_bias(getattr(aten, name)), computed(2))
    for name in ("dot", "matmul", "mv"):
        found[getattr(aten, name)] = rule(vector_product, of_vectors)
    for name in ("_to_copy", "to"):
        found[getattr(aten, name)] = rule(as_truths, becomes_truths)
    return {
        **found,
        aten.amax: rule(any_of, of_truths),
        aten.amin: rule(all_of, of_truths),
        aten.batch_norm: rule(batch_norm, computed(1, 2)),
        aten.cumsum: rule(cumulative_sum, counts_from_the_end),
        aten.einsum: rule(whole_einsum, is_whole_einsum),
        aten.instance_norm: rule(instance_norm_of_volumes, is_volume_or_computed),
        aten.layer_norm: rule(layer_norm, computed(2, 3)),
        aten.log_softmax: rule(core_ml.log_softmax, lambda node: True),
        aten.pixel_shuffle: rule(pixel_shuffle, is_no_batch_of_floats),
        aten.pixel_unshuffle: rule(pixel_unshuffle, is_no_batch_of_floats),
        aten.prelu: rule(slopes, has_slopes),
        aten.relu: rule(positive, of_integers),
        aten.softmax: rule(softmax, of_integers),
    }


def of_truths(node: fx.Node) -> bool:
    source: Any = node.args[0]
    return bool(source.meta["val"].dtype is torch.bool)
