"""Complex numbers as pairs of real ones, Fourier transforms as products with constant matrices.

No format that we write has complex numbers. A transform of n numbers is a product with an n by n
matrix of cosines and one of sines (the definition of the discrete Fourier transform), which phones
are fast at for the sizes of feature maps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from converters.graph import decompose
from converters.graph.sources import operation_of, packet_of, user_line
from model_defs.errors import UnsupportedOperation

aten: Any = torch.ops.aten


@dataclass(frozen=True)
class Pair:
    """A tensor of complex numbers: its real and its imaginary part, of one shape."""

    real: Tensor
    imag: Tensor


def make_real(module: fx.GraphModule) -> None:
    """Replaces every complex value by its parts.

    Raises UnsupportedOperation with the user's line for an operation of complex numbers that has
    no rule, and for outputs that are complex.
    """
    parts: dict[fx.Node, tuple[fx.Node, fx.Node]] = {}
    for node in list(module.graph.nodes):
        if node.op == "call_function" and (_is_complex(node) or parts.keys() & node._input_nodes):
            _make_node_real(module, node, parts)
        elif node.op != "call_function" and any(n in parts for n in node.all_input_nodes):
            raise UnsupportedOperation(
                "an output is complex", do="return its parts: torch.view_as_real(y)"
            )
    for node in reversed(parts):
        module.graph.erase_node(node)


def _is_complex(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_complex()


def _make_node_real(
    module: fx.GraphModule, node: fx.Node, parts: dict[fx.Node, tuple[fx.Node, fx.Node]]
) -> None:
    rule = RULES.get(packet_of(node))
    if rule is None:
        raise UnsupportedOperation(
            f"operation {operation_of(node)} of complex numbers cannot be exported",
            where=user_line(node),
            do="compute with the parts: torch.view_as_real(x)",
        )
    leaves, structure = tree_flatten((tuple(node.args), dict(node.kwargs)))
    given = [n for leaf in leaves if isinstance(leaf, fx.Node) for n in parts.get(leaf, (leaf,))]

    def run(*tensors: Tensor) -> Any:
        rest = iter(tensors)
        filled = [
            leaf
            if not isinstance(leaf, fx.Node)
            else Pair(next(rest), next(rest))
            if leaf in parts
            else next(rest)
            for leaf in leaves
        ]
        args, kwargs = tree_unflatten(filled, structure)
        result = rule(node, *args, **kwargs)
        return (result.real, result.imag) if isinstance(result, Pair) else result

    _, result = decompose.copied(module, node, run, given)
    if isinstance(result, fx.Node):
        node.replace_all_uses_with(result)
        module.graph.erase_node(node)
    else:
        parts[node] = result


Rule = Callable[..., Any]


def both(node: fx.Node, *args: Any, **kwargs: Any) -> Pair:
    """What only moves numbers, of both parts."""
    call: Any = node.target

    def of(part: str) -> Tensor:
        own = tree_map_only(Pair, lambda pair: getattr(pair, part), (args, kwargs))
        made: Tensor = call(*own[0], **own[1])
        return made

    return Pair(of("real"), of("imag"))


def _pair(value: Any) -> Pair:
    if isinstance(value, Pair):
        return value
    if isinstance(value, complex):
        return Pair(torch.tensor(value.real), torch.tensor(value.imag))
    value = torch.as_tensor(value)
    return Pair(value, torch.zeros((), dtype=value.dtype))


def _plus(node: fx.Node, x: Any, y: Any) -> Pair:
    a, b = _pair(x), _pair(y)
    return Pair(a.real + b.real, a.imag + b.imag)


def _minus(node: fx.Node, x: Any, y: Any) -> Pair:
    a, b = _pair(x), _pair(y)
    return Pair(a.real - b.real, a.imag - b.imag)


def _times(node: fx.Node, x: Any, y: Any) -> Pair:
    if not (isinstance(x, Pair) and isinstance(y, Pair | complex)):
        a, b = (x, y) if isinstance(x, Pair) else (y, x)
        return Pair(a.real * b, a.imag * b)
    y = _pair(y)
    return Pair(x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real)


# --- transforms --------------------------------------------------------------------------------


def _waves(rows: int, columns: int, size: int) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi j k / size, of j below rows and k below columns."""
    angle = 2 * np.pi * np.outer(np.arange(rows), np.arange(columns)) / size
    cos, sin = (f(angle).astype(np.float32) for f in (np.cos, np.sin))
    return torch.from_numpy(cos), torch.from_numpy(sin)


def _along(x: Tensor, matrix: Tensor, axis: int) -> Tensor:
    return torch.matmul(x.transpose(axis, -1), matrix).transpose(axis, -1)


def _transformed(x: Any, axis: int, *, inverse: bool, kept: int | None = None) -> Pair:
    """Along one axis, unscaled; the first `kept` frequencies, or all."""
    pair = x if isinstance(x, Pair) else None
    real: Tensor = pair.real if pair else x
    size = real.shape[axis]
    cos, sin = _waves(size, kept or size, size)
    sin = -sin if inverse else sin
    a, b = _along(real, cos, axis), -_along(real, sin, axis)
    if pair:
        a = a + _along(pair.imag, sin, axis)
        b = b + _along(pair.imag, cos, axis)
    return Pair(a, b)


def _back_to_real(x: Pair, axis: int, size: int) -> Tensor:
    """The inverse of a half spectrum along one axis, unscaled."""
    count = min(x.real.shape[axis], size // 2 + 1)
    x = Pair(x.real.narrow(axis, 0, count), x.imag.narrow(axis, 0, count))
    cos, sin = _waves(count, size, size)
    weights = torch.full((count, 1), 2.0)
    weights[0] = 1
    if size % 2 == 0 and size // 2 < count:
        weights[size // 2] = 1
    return _along(x.real, cos * weights, axis) - _along(x.imag, sin * weights, axis)


def _scale(sizes: list[int], norm: str | None, *, inverse: bool) -> float:
    total = float(np.prod(sizes))
    if norm == "ortho":
        return total**-0.5
    return 1 / total if inverse == (norm in (None, "backward")) else 1.0


def _scaled(x: Any, factor: float) -> Any:
    if factor == 1:
        return x
    return Pair(x.real * factor, x.imag * factor) if isinstance(x, Pair) else x * factor


def _shape(x: Any) -> torch.Size:
    found: torch.Size = (x.real if isinstance(x, Pair) else x).shape
    return found


def _axes(node: fx.Node, x: Any, sizes: Any, axes: Any, *, last_is_free: bool = False) -> list[int]:
    """The axes from the front; transforms of other sizes than the tensor's are refused."""
    shape = _shape(x)
    if axes is None:
        axes = range(len(shape) - len(sizes), len(shape)) if sizes else range(len(shape))
    found = [axis % len(shape) for axis in ([axes] if isinstance(axes, int) else axes)]
    wanted = [] if sizes is None else [sizes] if isinstance(sizes, int) else list(sizes)
    own = [shape[axis] for axis in found]
    if last_is_free:
        wanted, own = wanted[:-1], own[:-1]
    if any(w not in (-1, h) for w, h in zip(wanted, own, strict=False)):
        raise UnsupportedOperation(
            f"{operation_of(node)}: of another size than its input",
            where=user_line(node),
            do="pad or cut the input before it",
        )
    return found


def full(*, inverse: bool) -> Rule:
    """fft, fft2, fftn and their inverses."""

    def run(node: fx.Node, x: Any, s: Any = None, dim: Any = None, norm: Any = None) -> Pair:
        axes = _axes(node, x, s, _dim(node, dim))
        factor = _scale([_shape(x)[a] for a in axes], norm, inverse=inverse)
        for axis in axes:
            x = _transformed(x, axis, inverse=inverse)
        found: Pair = _scaled(x, factor)
        return found

    return run


def _dim(node: fx.Node, dim: Any) -> Any:
    """The axes that PyTorch takes where none are said."""
    name = operation_of(node)
    if dim is None:
        return [-2, -1] if name.endswith("2") else None if name.endswith("n") else -1
    return dim


def to_half(node: fx.Node, x: Tensor, s: Any = None, dim: Any = None, norm: Any = None) -> Pair:
    """rfft, rfft2, rfftn: real numbers to half of their spectrum."""
    axes = _axes(node, x, s, _dim(node, dim))
    factor = _scale([x.shape[a] for a in axes], norm, inverse=False)
    found = _transformed(x, axes[-1], inverse=False, kept=x.shape[axes[-1]] // 2 + 1)
    for axis in axes[:-1]:
        found = _transformed(found, axis, inverse=False)
    scaled: Pair = _scaled(found, factor)
    return scaled


def from_half(node: fx.Node, x: Pair, s: Any = None, dim: Any = None, norm: Any = None) -> Tensor:
    """irfft, irfft2, irfftn: half a spectrum to real numbers."""
    axes = _axes(node, x, s, _dim(node, dim), last_is_free=True)
    size = s if isinstance(s, int) else s[-1] if s else 2 * (x.real.shape[axes[-1]] - 1)
    sizes = [*(x.real.shape[a] for a in axes[:-1]), size]
    for axis in axes[:-1]:
        x = _transformed(x, axis, inverse=True)
    found: Tensor = _scaled(_back_to_real(x, axes[-1], size), _scale(sizes, norm, inverse=True))
    return found


MOVING = (
    *(aten.cat, aten.expand, aten.flip, aten.narrow, aten.permute, aten.repeat),
    *(aten.reshape, aten.select, aten.slice, aten.squeeze, aten.stack, aten.transpose),
    *(aten.unsqueeze, aten.view, aten.unflatten, aten.flatten, aten.roll, aten.index_select),
    *(aten.fft_fftshift, aten.fft_ifftshift),
)

RULES: Mapping[Any, Rule] = {
    aten.abs: lambda node, x: (x.real * x.real + x.imag * x.imag).sqrt(),
    aten.add: _plus,
    aten.complex: lambda node, real, imag: Pair(real, imag),
    aten.conj: lambda node, x: Pair(x.real, -x.imag),
    aten.fft_fft: full(inverse=False),
    aten.fft_fft2: full(inverse=False),
    aten.fft_fftn: full(inverse=False),
    aten.fft_ifft: full(inverse=True),
    aten.fft_ifft2: full(inverse=True),
    aten.fft_ifftn: full(inverse=True),
    aten.fft_irfft: from_half,
    aten.fft_irfft2: from_half,
    aten.fft_irfftn: from_half,
    aten.fft_rfft: to_half,
    aten.fft_rfft2: to_half,
    aten.fft_rfftn: to_half,
    aten.imag: lambda node, x: x.imag,
    aten.mul: _times,
    aten.neg: lambda node, x: Pair(-x.real, -x.imag),
    aten.real: lambda node, x: x.real,
    aten.sub: _minus,
    aten.view_as_complex: lambda node, x: Pair(x[..., 0], x[..., 1]),
    aten.view_as_real: lambda node, x: torch.stack([x.real, x.imag], -1),
    **dict.fromkeys(MOVING, both),
}
"""Operation of complex numbers -> what computes it of pairs; it is given the node as well."""
