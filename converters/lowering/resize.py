"""Resizing: TensorFlow's operations where they compute the same, matrices where they do not."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from converters.lowering.call import Call, nhwc
from converters.lowering.graph import Node
from converters.lowering.join import joined
from converters.lowering.tf import Tensor, constant, gen_array_ops, gen_image_ops, gen_math_ops
from converters.lowering.value import Value, channels_last, reshaped

NEARLY = 1e-4
"""Two sampling places this near (in pixels) are the same: ONNX holds its scales in float32."""


DEFAULTS = {
    "antialias": 0,
    "axes": None,
    "coordinate_transformation_mode": "half_pixel",
    "cubic_coeff_a": -0.75,
    "exclude_outside": 0,
    "extrapolation_value": 0.0,
    "keep_aspect_ratio_policy": "stretch",
    "mode": "nearest",
    "nearest_mode": "round_prefer_floor",
}


@dataclass(frozen=True)
class Axis:
    """Resizing along one axis: sizes, the scale that ONNX names, where each result samples."""

    before: int
    after: int
    scale: float
    places: np.ndarray


def resize(call: Call) -> Value:
    """Resize over the spatial axes: nearest, linear or cubic, with or without antialias.

    What TensorFlow's own operations would sample elsewhere, or cannot do, becomes one product
    with a constant matrix per axis.
    """
    a = call.read(**DEFAULTS)
    value, scales = call.value(), _scales(call, a)
    roi = _region(call, a)
    if value.rank == 3:
        value = reshaped(value, (*value.shape[:2], 1, value.shape[2]))
        scales, roi = (*scales[:2], 1.0, scales[2]), (*roi[:2], (0.0, 1.0), roi[2])
    if value.rank != 4 or scales[:2] != (1, 1):
        raise call.refuse("batch or channels", do="resize the last two axes of (N, C, H, W)")
    sizes = (*call.shape[2:],) if len(call.shape) == 4 else (1, call.shape[2])
    axes = tuple(
        Axis(n, m, s, places(call.node, a, n, m, s, ends))
        for n, m, s, ends in zip(value.shape[2:], sizes, scales[2:], roi[2:], strict=True)
    )
    x = call.arrange(value, channels_last(4)).tensor
    y = _nearest(call, x, axes, a) if a.mode == "nearest" else _interpolated(call, x, axes, a)
    if a.coordinate_transformation_mode == CROPPED:
        y = _extrapolated(y, axes, a.extrapolation_value)
    return reshaped(nhwc(y), call.shape)


CROPPED = "tf_crop_and_resize"
Ends = tuple[float, float]


def _region(call: Call, a: SimpleNamespace) -> tuple[Ends, ...]:
    """What part of each axis is resized: all of it but in the mode that crops."""
    value = call.value()
    ends = [(0.0, 1.0)] * value.rank
    if a.coordinate_transformation_mode == CROPPED:
        flat = [float(n) for n in call.constant(1, "region")]
        axes = tuple(axis % value.rank for axis in a.axes) if a.axes else tuple(range(value.rank))
        for axis, first, last in zip(axes, flat[: len(axes)], flat[len(axes) :], strict=True):
            ends[axis] = first, last
    return tuple(ends)


def _extrapolated(x: Tensor, axes: tuple[Axis, ...], number: float) -> Tensor:
    """With a number in the place of what lies outside of the input."""
    inside = [(axis.places >= 0) & (axis.places <= axis.before - 1) for axis in axes]
    if all(along.all() for along in inside):
        return x
    known = np.logical_and.outer(*inside)[None, :, :, None]
    return gen_math_ops.select_v2(constant(known), x, constant(np.float32(number)))


def _scales(call: Call, a: SimpleNamespace) -> tuple[float, ...]:
    """ONNX's scales for all axes, from its scales or from its sizes."""
    value = call.value()
    axes = tuple(axis % value.rank for axis in a.axes) if a.axes else tuple(range(value.rank))
    scales = [1.0] * value.rank
    if call.has(2) and call.constant(2, "scales").size:
        given = [float(s) for s in call.constant(2, "scales")]
        _check_corners(call, a, [(value.shape[ax], s) for ax, s in zip(axes, given, strict=True)])
    else:
        sizes = call.integers(3, "sizes")
        given = [m / value.shape[axis] for m, axis in zip(sizes, axes, strict=True)]
        if a.keep_aspect_ratio_policy != "stretch":
            given = [POLICIES[a.keep_aspect_ratio_policy](given)] * len(given)
    for axis, scale in zip(axes, given, strict=True):
        scales[axis] = scale
    return tuple(scales)


POLICIES = {"not_larger": min, "not_smaller": max}
"""Which of the scales that sizes ask for becomes the scale of all axes."""


def _check_corners(call: Call, a: SimpleNamespace, axes: list[tuple[int, float]]) -> None:
    """ONNX puts the last corner at size * scale - 1, PyTorch at the whole size below, less 1."""
    if a.coordinate_transformation_mode == "align_corners":
        for size, scale in axes:
            if abs(size * scale - round(size * scale)) > NEARLY * max(size * scale, 1):
                raise call.refuse(
                    f"align_corners with size {size} times {scale:g}, which is not whole",
                    do="give interpolate() size= instead of scale_factor=",
                )


def places(
    node: Node,
    a: SimpleNamespace,
    before: int,
    after: int,
    scale: float,
    ends: Ends = (0.0, 1.0),
) -> np.ndarray:
    """Where in the input each result samples (ONNX Resize, coordinate_transformation_mode)."""
    x = np.arange(after, dtype=np.float64)
    half = (x + 0.5) / scale - 0.5
    mode = a.coordinate_transformation_mode
    if mode == "half_pixel":
        return half
    if mode == "pytorch_half_pixel":
        return half if after > 1 else np.zeros(1)
    if mode == "asymmetric":
        return x / scale
    # One result alone has no two corners: the formula would divide by 0, ONNX says place 0.
    if mode == "align_corners":
        return x * (before - 1) / (after - 1) if after > 1 else np.zeros(1)
    if mode == "half_pixel_symmetric":
        return half + before / 2 * (1 - after / (before * scale))
    if mode == CROPPED:
        first, last = ends
        if after == 1:
            return np.array([(first + last) / 2 * (before - 1)])
        return first * (before - 1) + x * (last - first) * (before - 1) / (after - 1)
    raise node.refusal(
        f"coordinate_transformation_mode '{mode}'", do="use align_corners or half_pixel"
    )


def _nearest(call: Call, x: Tensor, axes: tuple[Axis, ...], a: SimpleNamespace) -> Tensor:
    """By TensorFlow's operation if that picks the same pixels, else by picking them."""
    # Compared by what is picked, pixel for pixel: TensorFlow knows sizes only, where ONNX may have
    # named another scale, and both round.
    chosen = [picks(call.node, a, axis) for axis in axes]
    sizes = np.array([ax.after for ax in axes], np.int32)
    for centre in (False, True):
        theirs = [_nearest_picks(ax, 0.5 if centre else 0.0) for ax in axes]
        if all(np.array_equal(p, t) for p, t in zip(chosen, theirs, strict=True)):
            return gen_image_ops.resize_nearest_neighbor(x, sizes, half_pixel_centers=centre)
    for axis, pick in enumerate(chosen, 1):
        if not np.array_equal(pick, np.arange(axes[axis - 1].before)):
            x = gen_array_ops.gather_v2(x, constant(pick), axis)
    return x


def picks(node: Node, a: SimpleNamespace, axis: Axis) -> np.ndarray:
    """Which input each result is (ONNX Resize, nearest_mode)."""
    mode = a.nearest_mode
    if a.coordinate_transformation_mode == "asymmetric" and mode == "floor":
        return _floors(axis)
    if mode == "round_prefer_floor":
        places = np.ceil(axis.places - 0.5)
    elif mode == "round_prefer_ceil":
        places = np.floor(axis.places + 0.5)
    elif mode in ("floor", "ceil"):
        places = np.floor(axis.places) if mode == "floor" else np.ceil(axis.places)
    else:
        raise node.refusal(f"nearest_mode '{mode}' is not known")
    return np.clip(places, 0, axis.before - 1).astype(np.int32)


def _floors(axis: Axis) -> np.ndarray:
    """PyTorch's `nearest`: the step of the places is a float32, and so is each place.

    The step is the inverse of the number that the user wrote: the shortest that has ONNX's
    float32, 1.6 for 1.60000002. Exact arithmetic with the latter would put place 8 at 4.9999999,
    and its floor one pixel before PyTorch's.
    """
    written = float(str(np.float32(axis.scale)))
    is_size = abs(axis.scale * axis.before - axis.after) < NEARLY
    step = axis.before / axis.after if is_size else 1 / written
    places = np.arange(axis.after, dtype=np.float32) * np.float32(step)
    return np.minimum(np.floor(places), axis.before - 1).astype(np.int32)


def repeat_pixels(call: Call) -> Value:
    """Each pixel `right` times, then each row `down` times, as concatenations.

    No operation of ONNX: the rewrite nearest-as-concats puts it in the place of a Resize.
    """
    a = call.read(down=1, right=1)
    x = call.nhwc()
    n, h, w, c = (int(size) for size in x.shape)
    # A pixel is a run of c numbers: two copies along the channels are two pixels side by side. A
    # row is a run of w * c numbers: two copies along it are two rows, one below the other.
    if a.right > 1:
        x = joined(call.target, [x] * a.right, 3)
    x = gen_array_ops.reshape(x, np.array([n, h, w * a.right * c], np.int32))
    if a.down > 1:
        x = joined(call.target, [x] * a.down, 2)
    return nhwc(gen_array_ops.reshape(x, np.array([n, h * a.down, w * a.right, c], np.int32)))


def _nearest_picks(axis: Axis, centre: float) -> np.ndarray:
    """What ResizeNearestNeighbor picks, in its float32 arithmetic."""
    scale = np.float32(axis.before) / np.float32(axis.after)
    # In float32, as the kernels compute: a place that should be whole may be a hair below it there,
    # and floor takes the pixel before.
    places = (np.arange(axis.after, dtype=np.float32) + np.float32(centre)) * scale
    return np.minimum(np.floor(places), axis.before - 1).astype(np.int32)


def _interpolated(call: Call, x: Tensor, axes: tuple[Axis, ...], a: SimpleNamespace) -> Tensor:
    sizes = np.array([axis.after for axis in axes], np.int32)
    if a.mode == "linear" and not a.antialias:
        for flags in (
            {"half_pixel_centers": True},
            {"align_corners": True},
            {},
        ):
            if all(_samples_alike(axis, **flags) for axis in axes):
                return gen_image_ops.resize_bilinear(x, sizes, **flags)
    elif a.mode not in ("linear", "cubic"):
        raise call.refuse(f"mode '{a.mode}' is not known")
    height, width = (_matrix(axis, a) for axis in axes)
    return _multiplied(x, height, width)


def _samples_alike(
    axis: Axis, half_pixel_centers: bool = False, align_corners: bool = False
) -> bool:
    """Whether ResizeBilinear with these flags samples where ONNX does."""
    # TensorFlow steps by the ratio of the sizes. With a scale of 1.5 ONNX makes 7 of 5 and steps by
    # 1 / 1.5, not by 5 / 7.
    x = np.arange(axis.after)
    if align_corners:
        theirs = x * (axis.before - 1) / max(axis.after - 1, 1)
    elif half_pixel_centers:
        theirs = (x + 0.5) * axis.before / axis.after - 0.5
    else:
        theirs = x * axis.before / axis.after
    return bool(np.abs(theirs - axis.places).max() < NEARLY)


def _multiplied(x: Tensor, height: np.ndarray, width: np.ndarray) -> Tensor:
    """Each axis as a product of a constant matrix (after, before) with the map."""
    n, h, w, c = (int(size) for size in x.shape)
    tall, wide = height.shape[0], width.shape[0]
    # (H, W * C) is how the map lies: one product does all columns and channels. Then each row is a
    # matrix (W, C), without a transpose in between.
    x = gen_array_ops.reshape(x, np.array([n, h, w * c], np.int32))
    x = gen_math_ops.batch_mat_mul_v2(constant(np.tile(height, (n, 1, 1))), x)
    x = gen_array_ops.reshape(x, np.array([n * tall, w, c], np.int32))
    x = gen_math_ops.batch_mat_mul_v2(constant(width[None]), x)
    return gen_array_ops.reshape(x, np.array([n, tall, wide, c], np.int32))


def _matrix(axis: Axis, a: SimpleNamespace) -> np.ndarray:
    """The weights of the inputs in each result; outside, the edge is repeated (or left out)."""
    matrix = np.zeros((axis.after, axis.before))
    # Antialiasing widens the kernel to what a result stands for; enlarging needs none.
    stretch = max(1 / axis.scale, 1.0) if a.antialias else 1.0
    radius = (2 if a.mode == "cubic" else 1) * stretch
    for row, place in enumerate(axis.places):
        taps = np.arange(np.floor(place - radius) + 1, np.ceil(place + radius) + 1).astype(int)
        weights = _kernel(a, (taps - place) / stretch)
        if a.exclude_outside:
            weights = np.where((taps >= 0) & (taps < axis.before), weights, 0)
        # Beyond an edge several taps fall on one pixel, of which `+=` would add the last only.
        np.add.at(matrix[row], taps.clip(0, axis.before - 1), weights / weights.sum())
    return matrix.astype(np.float32)


def _kernel(a: SimpleNamespace, x: np.ndarray) -> np.ndarray:
    """The triangle, or Keys' cubic with the coefficient a (Keys 1981, equation 4)."""
    x = np.abs(x)
    if a.mode == "linear":
        return np.clip(1 - x, 0, 1)
    k = a.cubic_coeff_a
    near = (k + 2) * x**3 - (k + 3) * x**2 + 1
    far = k * x**3 - 5 * k * x**2 + 8 * k * x - 4 * k
    return np.where(x <= 1, near, np.where(x < 2, far, 0))
