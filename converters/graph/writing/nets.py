"""Convolutions, products, normalisations, pooling, resizing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import fx

from converters.graph.writing.emit import Emission, numpy_type, pair


def convolution(rank: int) -> Any:
    def write(e: Emission) -> str:
        stride = pair(e.arg(3, "stride", 1), rank)
        padding = e.arg(4, "padding", 0)
        dilation = pair(e.arg(5, "dilation", 1), rank)
        kernel = list(e.tensor(1).shape[2:])
        if isinstance(padding, str):
            pads = _same_pads(kernel, dilation) if padding == "same" else [0] * (2 * rank)
        else:
            pads = pair(padding, rank) * 2
        x, single = _with_batch(e, rank)
        y = e.emit(
            "Conv",
            *_with_bias(e, x),
            kernel_shape=kernel,
            strides=stride,
            pads=pads,
            dilations=dilation,
            group=e.arg(6, "groups", 1),
        )
        return e.reshape(y, tuple(e.result.shape)) if single else y

    return write


def _same_pads(kernel: list[int], dilation: list[int]) -> list[int]:
    """PyTorch's "same": the larger half behind."""
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return [t // 2 for t in total] + [t - t // 2 for t in total]


def _with_bias(e: Emission, x: str) -> tuple[str, ...]:
    bias = e.arg(2, "bias")
    return (x, e.input(1)) if bias is None else (x, e.input(1), e.name(bias))


def transposed_convolution(rank: int) -> Any:
    def write(e: Emission) -> str:
        x, single = _with_batch(e, rank)
        y = e.emit(
            "ConvTranspose",
            *_with_bias(e, x),
            kernel_shape=list(e.tensor(1).shape[2:]),
            strides=pair(e.arg(3, "stride", 1), rank),
            pads=pair(e.arg(4, "padding", 0), rank) * 2,
            output_padding=pair(e.arg(5, "output_padding", 0), rank),
            group=e.arg(6, "groups", 1),
            dilations=pair(e.arg(7, "dilation", 1), rank),
        )
        return e.reshape(y, tuple(e.result.shape)) if single else y

    return write


def batch_norm(e: Emission) -> str:
    """With the statistics that were trained; the others are decomposed before."""
    channels = e.tensor().shape[1]
    scale, bias = _affine(e, e.arg(1), e.arg(2), channels)
    return e.emit(
        "BatchNormalization",
        e.input(),
        scale,
        bias,
        e.input(3),
        e.input(4),
        epsilon=float(e.arg(7)),
    )


def _affine(e: Emission, scale: Any, bias: Any, *shape: int) -> tuple[str, str]:
    ones, zeros = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    return (
        e.name(scale) if scale is not None else e.constant(ones),
        e.name(bias) if bias is not None else e.constant(zeros),
    )


def layer_norm(e: Emission) -> str:
    shape = tuple(e.arg(1))
    scale, bias = _affine(e, e.arg(2, "weight"), e.arg(3, "bias"), *shape)
    epsilon = float(e.arg(4, "eps", 1e-5))
    return e.emit("LayerNormalization", e.input(), scale, bias, axis=-len(shape), epsilon=epsilon)


def group_norm(e: Emission) -> str:
    channels = e.tensor().shape[1]
    scale, bias = _affine(e, e.arg(2, "weight"), e.arg(3, "bias"), channels)
    epsilon = float(e.arg(4, "eps", 1e-5))
    groups = e.arg(1)
    return e.emit("GroupNormalization", e.input(), scale, bias, num_groups=groups, epsilon=epsilon)


def instance_norm(e: Emission) -> str:
    channels = e.tensor().shape[1]
    scale, bias = _affine(e, e.arg(1), e.arg(2), channels)
    return e.emit("InstanceNormalization", e.input(), scale, bias, epsilon=float(e.arg(7)))


def linear(e: Emission) -> str:
    """A product with the transposed weight, of which the file stores the transpose."""
    weight, bias = e.arg(1), e.arg(2, "bias")
    if e.tensor().ndim == 2 and bias is not None:
        return e.emit("Gemm", e.input(), e.name(weight), e.name(bias), transB=1)
    y = e.emit("MatMul", e.input(), _flipped(e, weight))
    return y if bias is None else e.emit("Add", y, e.name(bias))


def _flipped(e: Emission, weight: fx.Node) -> str:
    key = ("transposed", weight.name)
    if key not in e.sheet.known:
        name = e.name(weight)
        stored = e.sheet.constants.get(name)
        if stored is None:
            return e.emit("Transpose", name, perm=[1, 0])
        e.sheet.known[key] = e.sheet.store(e.sheet.unique(f"{name}.T"), stored.T)
    return e.sheet.known[key]


def matmul(e: Emission) -> str:
    kind = e.result.dtype
    return e.emit("MatMul", e.input(0, kind), e.input(1, kind))


def add_product(e: Emission) -> str:
    """addmm, addmv, baddbmm: beta * x + alpha * (a @ b)."""
    kind = e.result.dtype
    beta, alpha = e.node.kwargs.get("beta", 1), e.node.kwargs.get("alpha", 1)
    product = e.emit("MatMul", e.input(1), e.input(2))
    if alpha != 1:
        product = e.emit("Mul", product, e.name(alpha, kind))
    x = e.input() if beta == 1 else e.emit("Mul", e.input(), e.name(beta, kind))
    return e.emit("Add", x, product)


def einsum(e: Emission) -> str:
    return e.emit(
        "Einsum", *(e.name(part) for part in e.arg(1)), equation=e.arg(0).replace(" ", "")
    )


# --- pooling -----------------------------------------------------------------------------------


def _with_batch(e: Emission, rank: int) -> tuple[str, bool]:
    """The input with an axis for the batch, and whether it had none."""
    single = e.tensor().ndim == rank + 1
    return (e.reshape(e.input(), (1, *e.tensor().shape)) if single else e.input()), single


def average_pool(rank: int) -> Any:
    def write(e: Emission) -> str:
        kernel = pair(e.arg(1), rank)
        strides, padding = pair(e.arg(2) or kernel, rank), pair(e.arg(3, "padding", 0), rank)
        counts = bool(e.arg(5, "count_include_pad", True))
        x, single = _with_batch(e, rank)
        ends = padding
        if e.arg(4, "ceil_mode", False):
            # The padding counts, but not what the last window reads beyond it.
            ends = _ends(e, kernel, strides, padding)
            if counts and any(padding) and ends != padding:
                before = [0, 0, *padding]
                x = e.emit("Pad", x, e.ints(*before, *before))
                ends = [end - p for end, p in zip(ends, padding, strict=True)]
                padding = [0] * rank
            counts = counts and ends == padding
        y = e.emit(
            "AveragePool",
            x,
            kernel_shape=kernel,
            strides=strides,
            pads=padding + ends,
            count_include_pad=int(counts),
        )
        return e.reshape(y, tuple(e.result.shape)) if single else y

    return write


def _ends(e: Emission, kernel: list[int], strides: list[int], padding: list[int]) -> list[int]:
    """The padding behind with which as many windows fit as PyTorch makes in ceil mode.

    ONNX's own ceil mode is read in several ways, where strides exceed the kernel.
    """
    rank = len(kernel)
    sizes = zip(e.tensor().shape[-rank:], e.result.shape[-rank:], strict=True)
    return [
        max(p, (made - 1) * s + k - have - p)
        for (have, made), k, s, p in zip(sizes, kernel, strides, padding, strict=True)
    ]


def max_pool(rank: int) -> Any:
    def write(e: Emission) -> Any:
        kernel, dilations = pair(e.arg(1), rank), pair(e.arg(4, "dilation", 1), rank)
        strides, padding = pair(e.arg(2) or kernel, rank), pair(e.arg(3, "padding", 0), rank)
        x, single = _with_batch(e, rank)
        ends, ceil = padding, bool(e.arg(5, "ceil_mode", False))
        if ceil:
            reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
            found = _ends(e, reach, strides, padding)
            # ONNX Runtime takes no padding as large as the kernel, which dilated ones need.
            ceil = any(end >= k for end, k in zip(found, kernel, strict=True))
            ends = padding if ceil else found
        made = e.emit(
            "MaxPool",
            x,
            kernel_shape=kernel,
            strides=strides,
            pads=padding + ends,
            dilations=dilations,
            ceil_mode=int(ceil),
        )
        made = e.reshape(made, tuple(e.result.shape)) if single else made
        return made if isinstance(e.node.meta["val"], torch.Tensor) else (made, None)

    return write


def adaptive_pool(operation: str) -> Any:
    """Of sizes that divide: a window of fixed size; the others are decomposed before."""

    def write(e: Emission) -> Any:
        several = not isinstance(e.node.meta["val"], torch.Tensor)
        wanted = e.result.shape[2 - e.tensor().ndim :] if e.tensor().ndim > 2 else e.result.shape
        have = e.tensor().shape[-len(wanted) :]
        if e.tensor().ndim < 3:
            raise e.refuse("without a batch", "add an axis before it")
        if set(wanted) == {1}:
            made = e.emit(f"Global{operation}", e.input())
        elif all(w == h for w, h in zip(wanted, have, strict=True)):
            made = e.input()
        else:
            size = [h // w for w, h in zip(wanted, have, strict=True)]
            made = e.emit(operation, e.input(), kernel_shape=size, strides=size)
        return (made, None) if several else made

    return write


# --- resizing ----------------------------------------------------------------------------------


def resize(mode: str) -> Any:
    """PyTorch's interpolate: by sizes, or to the nearest pixel by the scales that the user gave."""

    def write(e: Emission) -> str:
        have, want = list(e.tensor().shape[2:]), list(e.result.shape[2:])
        factors = _factors(e, len(have)) if mode == "nearest" else None
        if have == want and factors is None:
            return e.input()
        how: dict[str, Any]
        if mode == "nearest":
            where, how = "asymmetric", {"nearest_mode": "floor"}
        else:
            # Not "pytorch_half_pixel": of a side of one pixel that takes the first, PyTorch a mean.
            corners = e.arg(2, "align_corners", False)
            where, how = "align_corners" if corners else "half_pixel", {}
        if factors and len(have) > 1:
            # PyTorch copies such an axis, or doubles it, whatever the scale.
            sides = zip(factors, want, have, strict=True)
            factors = [w / h if w in (h, 2 * h) else f for f, w, h in sides]
        sizes, scales = e.ints(*e.result.shape), ""
        if factors and any(f != w / h for f, w, h in zip(factors, want, have, strict=True)):
            scales, sizes = e.constant(np.array([1, 1, *factors], np.float32)), ""
        return e.emit(
            "Resize",
            *(e.input(), "", scales, sizes) if sizes else (e.input(), "", scales),
            mode=mode,
            coordinate_transformation_mode=where,
            **how,
        )

    return write


def _factors(e: Emission, spatial: int) -> list[float] | None:
    """The scales that were given, of either of ATen's two forms of the operation."""
    schema: Any = e.node.target._schema  # type: ignore[union-attr]
    named = dict(zip([a.name for a in schema.arguments], e.node.args, strict=False))
    named |= e.node.kwargs
    if named.get("scale_factors") is not None:
        return [float(f) for f in named["scale_factors"]]
    ends = ("scales",) if spatial == 1 else ("scales_d", "scales_h", "scales_w")[-spatial:]
    found = [named.get(end) for end in ends]
    return None if None in found else [float(f) for f in found]  # type: ignore[arg-type]


def grid_sample(e: Emission) -> str:
    modes = ("linear", "nearest", "cubic")
    paddings = ("zeros", "border", "reflection")
    return e.emit(
        "GridSample",
        e.input(0),
        e.input(1),
        mode=modes[e.arg(2)],
        padding_mode=paddings[e.arg(3)],
        align_corners=int(bool(e.arg(4))),
    )


# --- reductions --------------------------------------------------------------------------------


def _axes(e: Emission, place: int = 1) -> list[int] | None:
    axes = e.arg(place, "dim")
    if axes is None or axes == []:
        return None
    rank = max(e.tensor().ndim, 1)
    return [axis % rank for axis in pair(axes, 1)]


def _reduced(e: Emission, operation: str, x: str, axes: list[int] | None, keep: bool) -> str:
    given = (x,) if axes is None else (x, e.ints(*axes))
    return e.emit(operation, *given, keepdims=int(keep))


def reduce(operation: str) -> Any:
    def write(e: Emission) -> str:
        kind = e.result.dtype
        x = e.input(0, kind)
        return _reduced(e, operation, x, _axes(e), bool(e.arg(2, "keepdim", False)))

    return write


def extreme(operation: str, arg: str) -> Any:
    """max and min along an axis, with the places; or of everything."""

    def write(e: Emission) -> Any:
        if isinstance(e.node.meta["val"], torch.Tensor):
            return _reduced(e, operation, e.input(), None, False)
        axis = e.arg(1, "dim") % max(e.tensor().ndim, 1)
        keep = bool(e.arg(2, "keepdim", False))
        read = {user.args[1] for user in e.node.users}
        value = _reduced(e, operation, e.input(), [axis], keep) if 0 in read else None
        place = e.emit(arg, e.input(), axis=axis, keepdims=int(keep)) if 1 in read else None
        return value, place

    return write


def arg(operation: str) -> Any:
    def write(e: Emission) -> str:
        axis, x = e.arg(1, "dim"), e.input()
        keep = bool(e.arg(2, "keepdim", False))
        if axis is None:
            x = e.reshape(x, (-1,))
            made = e.emit(operation, x, axis=0, keepdims=0)
            return e.reshape(made, tuple(e.result.shape)) if keep else made
        return e.emit(operation, x, axis=axis % max(e.tensor().ndim, 1), keepdims=int(keep))

    return write


def truth(operation: str) -> Any:
    """any and all."""

    def write(e: Emission) -> str:
        x = e.cast(e.input(0, torch.bool), torch.int32)
        keep = bool(e.arg(2, "keepdim", False))
        return e.cast(_reduced(e, operation, x, _axes(e), keep), torch.bool)

    return write


def variance(root: bool) -> Any:
    """var and std, with any correction."""

    def write(e: Emission) -> str:
        axes, kind = _axes(e), e.result.dtype
        unbiased = e.arg(2) if isinstance(e.arg(2), bool) else None
        correction: Any = e.node.kwargs.get("correction", 1)
        correction = 1 if correction is None else correction
        if unbiased is not None:
            correction = int(unbiased)
        keep = bool(e.node.kwargs.get("keepdim", e.arg(3, default=False)))
        shape = e.tensor().shape
        count = math.prod(shape if axes is None else [shape[a] for a in axes])
        mean = _reduced(e, "ReduceMean", e.input(), axes, True)
        off = e.emit("Sub", e.input(), mean)
        found = _reduced(e, "ReduceMean", e.emit("Mul", off, off), axes, keep)
        if correction:
            found = e.emit("Mul", found, e.name(count / max(count - correction, 1e-30), kind))
        return e.emit("Sqrt", found) if root else found

    return write


def norm(e: Emission) -> str:
    """The p-norm over some axes, p being 1 or 2 or infinite."""
    order = e.arg(1, "ord", 2)
    order = 2 if order is None else order
    axes, keep = _axes(e, 2), bool(e.arg(3, "keepdim", False))
    x = e.input(0, e.result.dtype)
    if order == 2:
        return _reduced(e, "ReduceL2", x, axes, keep)
    if order == 1:
        return _reduced(e, "ReduceSum", e.emit("Abs", x), axes, keep)
    if order in (math.inf, -math.inf):
        operation = "ReduceMax" if order > 0 else "ReduceMin"
        return _reduced(e, operation, e.emit("Abs", x), axes, keep)
    raise e.refuse(f"of order {order}", "use the order 1, 2 or infinity")


def log_sum_exp(e: Emission) -> str:
    axes = _axes(e)
    keep = int(bool(e.arg(2, "keepdim", False)))
    return e.emit("ReduceLogSumExp", e.input(), e.ints(*(axes or ())), keepdims=keep)


def softmax(operation: str) -> Any:
    def write(e: Emission) -> str:
        axis = e.arg(1, "dim") % max(e.result.ndim, 1)
        return e.emit(operation, e.input(0, e.result.dtype), axis=axis)

    return write


def cumulative_sum(e: Emission) -> str:
    axis = e.constant(np.asarray(e.arg(1, "dim") % max(e.result.ndim, 1), np.int64))
    return e.emit("CumSum", e.input(0, e.result.dtype), axis)


def top_k(e: Emission) -> tuple[str, ...]:
    axis = e.arg(2, "dim", -1) % max(e.tensor().ndim, 1)
    largest = int(bool(e.arg(3, "largest", True)))
    given = (e.input(), e.ints(e.arg(1)))
    return e.emit_all("TopK", given, 2, axis=axis, largest=largest, sorted=1)


def sort(e: Emission) -> tuple[str, ...]:
    places = {"dim": 1, "descending": 2}
    if "stable" in str(e.node.target):
        places = {"dim": 2, "descending": 3}
    axis = e.arg(places["dim"], "dim", -1) % max(e.tensor().ndim, 1)
    largest = int(bool(e.arg(places["descending"], "descending", False)))
    given = (e.input(), e.ints(e.tensor().shape[axis]))
    return e.emit_all("TopK", given, 2, axis=axis, largest=largest, sorted=1)


def constant_of(e: Emission) -> str:
    """A number as a tensor."""
    return e.constant(np.asarray(e.arg(0), numpy_type(e.result.dtype)))
