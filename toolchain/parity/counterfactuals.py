"""What PyTorch would have computed with one option changed, to compare a backend with that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import numpy as np
from torch import Tensor
from torch.nn import functional

from converters.api import Program, Tensors
from converters.graph.captured import GraphCall
from converters.graph.sources import module_of, operation_of, user_line
from converters.program_graph import watch
from converters.reference import ReferenceRunner

Patch = Callable[[], AbstractContextManager[Any]]


def outputs_if(program: Program, inputs: Tensors, patch: Patch) -> dict[str, np.ndarray]:
    """The program's outputs while a function of torch is another."""
    with patch():
        return ReferenceRunner(program).run(inputs)


def first_beyond(program: Program, inputs: Tensors, limit: float) -> tuple[str, float] | None:
    """The first operation that gives a larger absolute value, with its line, and that value."""
    found: list[tuple[str, float]] = []

    def seen(call: GraphCall) -> Any:
        made = call.result
        if not found and isinstance(made, Tensor) and made.is_floating_point() and made.numel():
            largest = float(made.abs().max())
            if largest > limit:
                line = user_line(call.node)
                name = module_of(call.node) or operation_of(call.node)
                found.append((f"{name} ({line})" if line else name, largest))
        return made

    watch(program, inputs, seen)
    return found[0] if found else None


def _interpolate(change: Callable[[dict[str, Any]], None]) -> Patch:
    """`torch.nn.functional.interpolate`, as nn.Upsample calls it too, with options changed."""
    original = functional.interpolate

    def changed(input: Tensor, *args: Any, **options: Any) -> Tensor:
        # interpolate's own order: what was given by place is then found by name.
        names = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor")
        options |= dict(zip(names, args, strict=False))
        change(options)
        return original(input, **options)

    return lambda: mock.patch.object(functional, "interpolate", changed)


def _flip_corners(options: dict[str, Any]) -> None:
    if options.get("mode") in ("bilinear", "bicubic"):
        options["align_corners"] = not options.get("align_corners")


def _to_nearest(options: dict[str, Any]) -> None:
    # torch refuses align_corners beside nearest, False as well.
    options.update(mode="nearest", align_corners=None)


def _to_bilinear(options: dict[str, Any]) -> None:
    if options.get("mode", "nearest") == "nearest":
        options.update(mode="bilinear", align_corners=False)


def _antialias(options: dict[str, Any]) -> None:
    if options.get("mode") in ("bilinear", "bicubic"):
        options["antialias"] = not options.get("antialias")


def _same_padding() -> AbstractContextManager[Any]:
    """Strided convolutions padded as TensorFlow's SAME: less before than after."""
    original = functional.conv2d

    def changed(
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        result = original(x, weight, bias, stride, padding, dilation, groups)
        # SAME adds what the last result needs, which PyTorch's own result tells, and no more.
        steps, gaps = (_pair(v) for v in (stride, dilation))
        pads: list[int] = []
        # F.pad counts from the last axis.
        for axis in (1, 0):
            reach = gaps[axis] * (weight.shape[2 + axis] - 1) + 1
            total = (result.shape[2 + axis] - 1) * steps[axis] + reach - x.shape[2 + axis]
            pads += [max(total, 0) // 2, max(total, 0) - max(total, 0) // 2]
        padded = functional.pad(x, pads)
        shifted = original(padded, weight, bias, stride, 0, dilation, groups)
        return shifted if shifted.shape == result.shape else result

    return mock.patch.object(functional, "conv2d", changed)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


COUNTERFACTUALS: dict[str, Patch] = {
    "resizing differs in align_corners: PyTorch with it flipped gives these values": _interpolate(
        _flip_corners
    ),
    "resizing is nearest where PyTorch's is bilinear": _interpolate(_to_nearest),
    "resizing is bilinear where PyTorch's is nearest": _interpolate(_to_bilinear),
    "resizing differs in antialias: PyTorch with it flipped gives these values": _interpolate(
        _antialias
    ),
    "strided convolutions are padded as TensorFlow's SAME (less before than after)": _same_padding,
}
"""What it would mean -> the change of PyTorch that would show it."""
