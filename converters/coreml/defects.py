"""Known wrong conversions of coremltools 9.0, repaired here and nowhere else.

Each by replacing the function that converts the operation:

    reciprocal, c / x   became `inverse`, which is 1 / (x + 1e-4): 50 % off at x = 1e-4
    rsqrt               had an epsilon of 1e-12: 1e-6 in float32 is already off
    log, log2, log10    had an epsilon of 1e-45: the logarithm of 0 was -103
    hardtanh            with whole-number bounds fails on their dtype (`F.hardtanh(x, 0, 1)`)
    zeros_like          of a known shape was stored as a full-size tensor in weight.bin
    max_pool, avg_pool  with ceil_mode and no padding, in 1 and 2 dimensions, kept a last window
                        that lies beyond the data, where the stride exceeds the kernel
    conv_transpose      in groups was multiplied by the scales of other channels, where a product or
                        a batch norm behind it was folded in; in 3 dimensions that failed
    mean, amax ...      over all axes, of what was transposed, ended a pass with KeyError 'axes'
    x.mT @ x            where the product is transposed, too, became x @ x: a pass that takes out
                        transposes in pairs put one before both factors
    fake_quantize       had no converter: quantize, then dequantize, which Core ML runs in integers

Each has a test that fails without it. Avoided by converting TorchScript, not PyTorch's exported
program itself: pools whose stride is omitted, and selu, whose scale is ignored there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from converters.api import Layers
from converters.coreml.names import captured_name


def operations(graph: Any) -> Iterator[Any]:
    """Every node of a TorchScript graph, those of inner blocks included."""
    for node in graph.nodes():
        yield node
        for block in node.blocks():
            yield from operations(block)


def source(node: Any, layers: Layers) -> str:
    """The line of the user's PyTorch that a TorchScript node came from, `file.py:12` or ''."""
    names = [captured_name(value) for value in node.outputs()]
    return next((str(layers[name]["source"]) for name in names if name in layers), "")


def _reciprocal(context: Any, node: Any) -> None:
    from coremltools.converters.mil import Builder

    (x,) = _inputs(context, node)[:1]
    context.add(Builder.real_div(x=np.float32(1), y=x, name=node.name))


def _rsqrt(context: Any, node: Any) -> None:
    from coremltools.converters.mil import Builder

    (x,) = _inputs(context, node)[:1]
    root = Builder.sqrt(x=x)
    context.add(Builder.real_div(x=np.float32(1), y=root, name=node.name))


def _log(context: Any, node: Any, base: float = 0.0) -> None:
    from coremltools.converters.mil import Builder
    from coremltools.converters.mil.mil import types

    (x,) = _inputs(context, node)[:1]
    x = x if types.is_float(x.dtype) else Builder.cast(x=x, dtype="fp32")
    named = {} if base else {"name": node.name}
    found = Builder.log(x=x, epsilon=np.float32(0), **named)
    if base:
        found = Builder.mul(x=found, y=np.float32(1 / np.log(base)), name=node.name)
    context.add(found)


def _hardtanh(context: Any, node: Any) -> None:
    from coremltools.converters.mil import Builder

    x, low, high = _inputs(context, node)[:3]
    bounds = {"alpha": np.float32(low.val), "beta": np.float32(high.val)}
    context.add(Builder.clip(x=x, **bounds, name=node.name))


def _fake_quantize(context: Any, node: Any) -> None:
    from coremltools.converters.mil import Builder

    x, scale, zero, low, high = _inputs(context, node)[:5]
    if (low.val, high.val) != (-128, 127):
        raise ValueError(f"codes from {low.val} to {high.val} are not int8")
    grid = {"scale": np.float32(scale.val), "zero_point": np.int8(zero.val)}
    codes = Builder.quantize(input=x, output_dtype="int8", **grid)
    context.add(Builder.dequantize(input=codes, **grid, name=node.name))


def _zeros_like(original: Callable[..., None]) -> Callable[..., None]:
    def convert(context: Any, node: Any) -> None:
        from coremltools.converters.mil import Builder
        from coremltools.converters.mil.mil import types

        x, dtype = _inputs(context, node)[:2]
        if x.val is not None or dtype is not None or not types.is_float(x.dtype):
            original(context, node)
        else:
            context.add(Builder.fill_like(ref_tensor=x, value=np.float32(0), name=node.name))

    return convert


def _pool(original: Callable[..., None], ceil_at: int) -> Callable[..., None]:
    """Cuts off what no window of PyTorch's reaches, so that ceil_mode has none to add."""

    def convert(context: Any, node: Any) -> None:
        from coremltools.converters.mil import Builder

        x, kernel, strides, pad = _inputs(context, node)[:4]
        ceil = context[node.inputs[ceil_at]].val
        sizes = _reached(x.shape, kernel.val, strides.val, pad.val) if ceil else x.shape
        if sizes != x.shape:
            cut = Builder.slice_by_size(x=x, begin=[0] * len(sizes), size=sizes)
            context.add(cut, torch_name=node.inputs[0], override=True)
        try:
            original(context, node)
        finally:
            context.add(x, torch_name=node.inputs[0], override=True)

    return convert


def _reached(shape: tuple[Any, ...], kernel: Any, strides: Any, pad: Any) -> tuple[Any, ...]:
    """The shape without the elements after the last window that begins in the data."""
    reached = []
    steps = strides if len(strides) else kernel
    for size, k, s, p in zip(shape[-len(kernel) :], kernel, steps, pad, strict=True):
        windows = -(-(size - k) // s) + 1 if isinstance(size, int) and p == 0 else 0
        beyond = (windows - 1) * s >= size
        reached.append(int((windows - 2) * s + k) if beyond else size)
    return (*shape[: -len(kernel)], *reached)


def _inputs(context: Any, node: Any) -> list[Any]:
    return [context[name] for name in node.inputs]


WRAPPED: dict[str, Callable[[Callable[..., None]], Callable[..., None]]] = {
    "zeros_like": _zeros_like,
    "max_pool1d": functools.partial(_pool, ceil_at=5),
    "max_pool2d": functools.partial(_pool, ceil_at=5),
    "avg_pool1d": functools.partial(_pool, ceil_at=4),
    "avg_pool2d": functools.partial(_pool, ceil_at=4),
}
"""Operations whose converters are kept, with something done before."""


FOLDS = ("common::fuse_conv_scale", "common::fuse_conv_batchnorm")
"""coremltools' passes that multiply kernels."""


def _multiplies(original: Callable[..., bool]) -> Callable[..., bool]:
    """Leaves alone kernels of (C_in, C_out / groups, ...), which it takes for another order."""

    def transform(conv: Any, scale: Any) -> bool:
        in_groups = conv.op_type == "conv_transpose" and conv.groups.val > 1
        in_three = conv.op_type == "conv_transpose" and conv.weight.rank == 5
        return not (in_groups or in_three) and original(conv, scale)

    return transform


def _reduces(original: Callable[..., None]) -> Callable[..., None]:
    """Lets no transpose pass a reduction of all axes, which names none."""

    def init(self: Any, **given: Any) -> None:
        op = given["op"]
        if "axes" in op.inputs:
            original(self, **given)
        else:
            super(type(self), self).__init__(**given)
            self.axes_var, self.axes_op = None, op  # which is no constant

    return init


def _keeps_apart(original: Callable[..., None]) -> Callable[..., None]:
    """Takes out no transposes where some operation reads a value, and the same one transposed."""

    def verify(self: Any) -> None:
        original(self)
        if any(_reads_both(op) for op in self.block.operations):
            self.transpose_op_to_cancel_ops.clear()

    return verify


def _reads_both(operation: Any) -> bool:
    read: set[Any] = set()
    for given in operation.inputs.values():
        read.update(given if isinstance(given, (list, tuple)) else [given])
    return len({_untransposed(one) for one in read}) < len(read)


def _untransposed(value: Any) -> Any:
    while getattr(value, "op", None) is not None and value.op.op_type == "transpose":
        value = value.op.inputs["x"]
    return value


def repair() -> None:
    """Puts our converters of the operations above in place of coremltools'; once is enough."""
    from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY
    from coremltools.converters.mil.mil.passes.defs import optimize_repeat_ops
    from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY

    for name, convert in (
        ("reciprocal", _reciprocal),
        ("rsqrt", _rsqrt),
        ("log", _log),
        ("log2", functools.partial(_log, base=2.0)),
        ("log10", functools.partial(_log, base=10.0)),
        ("hardtanh", _hardtanh),
        ("fake_quantize_per_tensor_affine", _fake_quantize),
    ):
        _TORCH_OPS_REGISTRY.set_func_by_name(convert, name)
    for name, wrap in WRAPPED.items():
        original = _TORCH_OPS_REGISTRY.get_func(name)
        if original.__module__ != __name__:
            _TORCH_OPS_REGISTRY.set_func_by_name(wrap(original), name)
    for name in FOLDS:
        kind = type(PASS_REGISTRY[name])
        original = kind._try_to_transform
        if original.__module__ != __name__:
            kind._try_to_transform = staticmethod(_multiplies(original))
    reduction = optimize_repeat_ops._TransformReduceMean
    if reduction.__init__.__module__ != __name__:
        reduction.__init__ = _reduces(reduction.__init__)
    transposes = optimize_repeat_ops._TransposeOptimization
    verify = transposes._verify_cancellable_transposes
    if verify.__module__ != __name__:
        transposes._verify_cancellable_transposes = _keeps_apart(verify)
