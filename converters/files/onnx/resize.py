"""Resizing: F.interpolate where it means the same, and the very weights where it does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from converters.files.onnx.call import Layer, NodeCall

HALF = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


def resize(call: NodeCall) -> Layer:
    return _resized(call, *_read(call))


def weighed(call: NodeCall) -> Layer:
    """The same by the weights that ONNX says alone, never by F.interpolate."""
    return _explicit(call, *_read(call))


def _read(call: NodeCall) -> tuple[Any, tuple[float, ...], Sequence[int]]:
    """The settings, and the scale and the new size of each axis."""
    read = call.read(
        antialias=0,
        axes=None,
        coordinate_transformation_mode="half_pixel",
        cubic_coeff_a=-0.75,
        exclude_outside=0,
        extrapolation_value=0.0,
        keep_aspect_ratio_policy="stretch",
        mode="nearest",
        nearest_mode="round_prefer_floor",
    )
    if call.opset < 11:
        read.coordinate_transformation_mode, read.nearest_mode = "asymmetric", "floor"
    how = read.coordinate_transformation_mode
    if how == "tf_crop_and_resize":
        raise call.refuse(f"coordinate_transformation_mode '{how}'", do="crop before it resizes")
    at = 1 if call.opset < 11 else 2
    return read, *_sizes(call, read, at)


def upsample(call: NodeCall) -> Layer:
    """What Resize was before version 10."""
    read = call.read(mode="nearest", scales=None, height_scale=None, width_scale=None)
    read.coordinate_transformation_mode, read.nearest_mode = "asymmetric", "floor"
    read.antialias = read.exclude_outside = 0
    read.cubic_coeff_a = -0.75
    scales = read.scales or call.constant(1, "scales").reshape(-1).tolist()
    sizes = [math.floor(n * s) for n, s in zip(call.shape(), scales, strict=True)]
    return _resized(call, read, tuple(scales), sizes)


def _sizes(call: NodeCall, read: Any, at: int) -> tuple[tuple[float, ...], Sequence[int]]:
    """The scale and the new size of each axis."""
    shape = call.shape()
    axes = [call.axis(a) for a in read.axes] if read.axes else [*range(call.rank())]
    scales, sizes = [1.0] * len(shape), [*shape]
    given = call.constant(at, "scales").reshape(-1).tolist() if call.has(at) else []
    if given:
        for axis, scale in zip(axes, given, strict=True):
            scales[axis] = scale
            # Float32's 1.2 times 5 is 6.0000001 or 5.9999998: not less than it was meant to be.
            sizes[axis] = math.floor(np.float32(shape[axis]) * np.float32(scale))
        return tuple(scales), sizes
    asked = dict(zip(axes, call.integers(3, "sizes"), strict=True))
    policy = read.keep_aspect_ratio_policy
    if policy != "stretch":
        choose = min if policy == "not_larger" else max
        scale = choose(n / shape[axis] for axis, n in asked.items())
        asked = {axis: math.floor(scale * shape[axis] + 0.5) for axis in asked}
        for axis in asked:
            scales[axis] = scale
    for axis, n in asked.items():
        sizes[axis] = n
        if policy == "stretch":
            scales[axis] = n / shape[axis]
    return tuple(scales), sizes


def _resized(call: NodeCall, read: Any, scales: Sequence[float], sizes: Sequence[int]) -> Layer:
    shape = call.shape()
    call.sized(sizes)
    if min(sizes) < 1:
        raise call.refuse(f"to a size of {tuple(sizes)}")
    changed = _changed(shape, scales, sizes)
    planes = 3 <= len(shape) <= 5 and min(changed, default=2) >= 2
    if changed and planes and call.value().is_floating_point():
        made = _interpolated(call, read, scales, sizes)
        if made is not None:
            return made
    return _explicit(call, read, scales, sizes)


def _changed(shape: Sequence[int], scales: Sequence[float], sizes: Sequence[int]) -> list[int]:
    axes = enumerate(zip(sizes, shape, scales, strict=True))
    return [axis for axis, (new, old, scale) in axes if new != old or scale != 1]


def _explicit(call: NodeCall, read: Any, scales: Sequence[float], sizes: Sequence[int]) -> Layer:
    """Along each axis that changes, the numbers that are taken, or the weights of all."""
    shape = call.shape()
    changed = _changed(shape, scales, sizes)
    if not changed:
        return call.apply(_same, 0)
    if read.mode == "nearest":
        places = {a: _nearest(read, shape[a], sizes[a], scales[a]) for a in changed}
        return call.apply(_picked, 0, places=places)
    weights = {
        axis: torch.from_numpy(_weights(read, shape[axis], sizes[axis], scales[axis]))
        for axis in changed
    }
    return call.apply(_weighed, 0, weights=weights)


def _interpolated(
    call: NodeCall, read: Any, scales: Sequence[float], sizes: Sequence[int]
) -> Layer | None:
    """As F.interpolate does it, where its weights are those that ONNX says."""
    shape, how = call.shape(), read.coordinate_transformation_mode
    rank = len(shape)
    new = tuple(sizes[2:])
    if read.mode == "nearest":
        alike = all(
            np.array_equal(
                _nearest(read, shape[a], sizes[a], scales[a]), _floored(shape[a], sizes[a])
            )
            for a in range(2, rank)
        )
        return call.apply(F.interpolate, 0, size=new, mode="nearest") if alike else None
    # A scale that does not give a whole size is not the ratio of the sizes.
    exact = all(math.isclose(scales[a], sizes[a] / shape[a], rel_tol=1e-6) for a in range(2, rank))
    corners = how == "align_corners"
    half = how in HALF[:2] and (how == "half_pixel" or min(new) > 1)
    if not exact or not (corners or half) or read.exclude_outside or read.antialias:
        return None  # at the edges ONNX repeats the last number, where PyTorch leaves it away
    mode = LINEAR[rank] if read.mode == "linear" else "bicubic"
    if mode == "bicubic" and (rank != 4 or read.cubic_coeff_a != -0.75):
        return None
    return call.apply(F.interpolate, 0, size=new, mode=mode, align_corners=corners)


def _coordinates(read: Any, old: int, new: int, scale: float) -> np.ndarray:
    """Where each number of a resized axis lies on the old one."""
    x = np.arange(new, dtype=np.float64)
    length = scale * old
    how = read.coordinate_transformation_mode
    if how == "asymmetric":
        return x / scale
    if how == "align_corners":
        return x * (old - 1) / (length - 1) if length != 1 else np.zeros(new)
    if how == "pytorch_half_pixel" and length <= 1:
        return np.full(new, -0.5 + 0.5)
    found = (x + 0.5) / scale - 0.5
    if how == "half_pixel_symmetric":
        adjustment = new / length
        return found + old / 2 * (1 - adjustment)
    return found


def _nearest(read: Any, old: int, new: int, scale: float) -> tuple[int, ...]:
    found = ROUNDINGS[read.nearest_mode](_coordinates(read, old, new, scale))
    return tuple(int(n) for n in np.clip(found, 0, old - 1))


def _floored(old: int, new: int) -> tuple[int, ...]:
    """What mode "nearest" of F.interpolate takes."""
    step = np.float32(old) / np.float32(new)
    found = np.floor(np.arange(new, dtype=np.float32) * step)
    return tuple(int(n) for n in np.minimum(found, old - 1))


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _weights(read: Any, old: int, new: int, scale: float) -> np.ndarray:
    """The matrix (new, old) that an axis is multiplied with."""
    places = _coordinates(read, old, new, scale)
    stretch = min(scale, 1.0) if read.antialias else 1.0
    reach = math.ceil((1 if read.mode == "linear" else 2) / stretch)
    matrix = np.zeros((new, old))
    for row, place in enumerate(places):
        around = np.arange(math.floor(place) - reach, math.floor(place) + reach + 2)
        distance = (around - place) * stretch
        if read.mode == "linear":
            weights = np.maximum(0.0, 1 - np.abs(distance))
        else:
            weights = _cubic(distance, read.cubic_coeff_a)
        if read.exclude_outside:
            weights = np.where((around >= 0) & (around < old), weights, 0.0)
        np.add.at(matrix[row], np.clip(around, 0, old - 1), weights / weights.sum())
    return matrix.astype(np.float32)


def _same(value: Tensor) -> Tensor:
    return value


def _picked(value: Tensor, places: dict[int, tuple[int, ...]]) -> Tensor:
    for axis, indices in places.items():
        value = value.index_select(axis, torch.tensor(indices))
    return value


def _weighed(value: Tensor, weights: dict[int, Tensor]) -> Tensor:
    for axis, matrix in weights.items():
        moved = value.transpose(axis, -1)
        value = F.linear(moved, matrix.to(value.dtype)).transpose(axis, -1)
    return value
