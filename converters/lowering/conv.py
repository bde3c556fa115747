"""Convolutions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from converters.lowering import volumes
from converters.lowering.call import Call, Target, nhwc
from converters.lowering.graph import Shape
from converters.lowering.join import joined
from converters.lowering.tf import Tensor, constant, gen_array_ops, gen_nn_ops
from converters.lowering.value import Value
from converters.lowering.window import Window, in_two_dimensions, read_window


def conv(call: Call) -> Value:
    """Conv, 1-D to 3-D, dense, grouped or depthwise."""
    if call.value().rank == 5:
        return volumes.convolution(call, _conv)
    return in_two_dimensions(call, _conv)


def conv_transpose(call: Call) -> Value:
    """ConvTranspose: the whole result, of which the padding is then cropped.

    A grouped one is one per group. Dilation spreads the filter out with zeros.
    """
    if call.value().rank == 5:
        return volumes.transposed_convolution(call, _conv_transpose)
    return in_two_dimensions(call, _conv_transpose)


def _conv(call: Call) -> Value:
    a = call.read(
        auto_pad="NOTSET", dilations=None, group=1, kernel_shape=None, pads=None, strides=None
    )
    weight = call.constant(1, "weight")
    spatial, channels = call.value().shape[2:], call.value().shape[1]
    window = read_window(call, a, weight.shape[2:], spatial)
    x = call.nhwc()
    kept: Shape = (1, 1)
    if call.target == "tfjs" and max(window.strides) > 1 and max(window.dilations) > 1:
        x, window, kept = _one_or_other(x, window)
        spatial = tuple(int(n) for n in x.shape[1:3])
    padding = _padding(call.target, window, spatial)
    if padding == "VALID" and not window.is_valid:
        x = gen_array_ops.pad(x, np.array([(0, 0), *window.pads, (0, 0)], np.int32))
    # TFLite takes a filter of fewer channels than the map for a grouped one; TF.js has no groups,
    # so that each is a convolution of its own.
    if a.group == channels and a.group > 1:
        y = _depthwise(x, weight, window, padding)
    elif a.group == 1 or call.target == "tflite":
        y = _dense(x, weight, window, padding)
    else:
        parts = gen_array_ops.split(axis=3, value=x, num_split=a.group)
        filters = np.split(weight, a.group)
        dense = [_dense(p, w, window, padding) for p, w in zip(parts, filters, strict=True)]
        y = joined(call.target, dense, 3)
    return nhwc(_biased(call, _every(y, kept)))


def _one_or_other(x: Tensor, window: Window) -> tuple[Tensor, Window, Shape]:
    """The map and a window that has strides or dilations, not both, as TF.js wants it.

    A filter whose dilation is a multiple of the stride sees every n-th pixel only: those are
    taken first, and nothing is computed in vain. Otherwise the convolution has no stride, and the
    third result says which of its results are kept.
    """
    pads = np.array([(0, 0), *window.pads, (0, 0)], np.int32)
    x = x if window.is_valid else gen_array_ops.pad(x, pads)
    pairs = list(zip(window.strides, window.dilations, strict=True))
    first = tuple(s if d % s == 0 else 1 for s, d in pairs)
    strides = tuple(s // f for s, f in zip(window.strides, first, strict=True))
    dilations = tuple(d // f for d, f in zip(window.dilations, first, strict=True))
    none = ((0, 0), (0, 0))
    if max(strides) > 1 and max(dilations) > 1:
        kept, strides = strides, (1, 1)
    else:
        kept = (1, 1)
    return _every(x, first), Window(window.kernel, strides, dilations, none), kept


def _every(x: Tensor, steps: Shape) -> Tensor:
    """Every n-th pixel of each row and column."""
    if max(steps) == 1:
        return x
    end = [int(n) for n in x.shape]
    return gen_array_ops.strided_slice(x, [0, 0, 0, 0], end, [1, *steps, 1])


def _conv_transpose(call: Call) -> Value:
    a = call.read(
        auto_pad="NOTSET",
        dilations=(1, 1),
        group=1,
        kernel_shape=None,
        output_padding=(0, 0),
        output_shape=None,
        pads=None,
        strides=None,
    )
    if a.auto_pad != "NOTSET" or a.output_shape:
        raise call.refuse("auto_pad and output_shape", do="give pads and output_padding")
    weight = _spread(call.constant(1, "weight"), a.dilations)
    undilated = SimpleNamespace(strides=a.strides, pads=a.pads)
    window = read_window(call, undilated, weight.shape[2:], call.value().shape[2:])
    extra = tuple(a.output_padding)
    if any(e >= s for e, s in zip(extra, window.strides, strict=True)):
        raise call.refuse(f"output_padding {extra} is not below the strides {window.strides}")
    x = call.nhwc()
    if a.group == 1:
        return nhwc(_biased(call, _deconvolved(x, weight, window, extra)))
    parts = gen_array_ops.split(axis=3, value=x, num_split=a.group)
    filters = np.split(weight, a.group)
    ys = [_deconvolved(p, w, window, extra) for p, w in zip(parts, filters, strict=True)]
    return nhwc(_biased(call, joined(call.target, ys, 3)))


def _padding(target: Target, window: Window, spatial: Shape) -> str:
    """What TensorFlow is to add: TF.js pads explicitly, for TFLite a Pad goes before."""
    if window.is_same(spatial):
        return "SAME"
    return "VALID" if window.is_valid or target == "tflite" else "EXPLICIT"


def _explicit(window: Window, padding: str) -> list[int]:
    flat = [n for pair in window.pads for n in pair]
    return [0, 0, *flat, 0, 0] if padding == "EXPLICIT" else []


def _dense(x: Tensor, weight: np.ndarray, window: Window, padding: str) -> Tensor:
    return gen_nn_ops.conv2d(
        x,
        constant(np.ascontiguousarray(weight.transpose(2, 3, 1, 0))),
        strides=[1, *window.strides, 1],
        padding=padding,
        explicit_paddings=_explicit(window, padding),
        dilations=[1, *window.dilations, 1],
    )


def _depthwise(x: Tensor, weight: np.ndarray, window: Window, padding: str) -> Tensor:
    outputs, _, height, width = weight.shape
    channels = int(x.shape[3])
    filters = weight.reshape(channels, outputs // channels, height, width)
    return gen_nn_ops.depthwise_conv2d_native(
        x,
        constant(np.ascontiguousarray(filters.transpose(2, 3, 0, 1))),
        strides=[1, *window.strides, 1],
        padding=padding,
        explicit_paddings=_explicit(window, padding),
        dilations=[1, *window.dilations, 1],
    )


def _deconvolved(x: Tensor, weight: np.ndarray, window: Window, extra: Shape) -> Tensor:
    """The transpose of a convolution over `full`, less the padding on each side."""
    batch, *spatial, _ = (int(n) for n in x.shape)
    full = tuple(
        (n - 1) * s + k + e
        for n, s, k, e in zip(spatial, window.strides, window.kernel, extra, strict=True)
    )
    cropped = tuple(n - sum(p) for n, p in zip(full, window.pads, strict=True))
    # A padded result of fewer pixels than a stride ends LiteRT 2.1 by signal 11 (XNNPACK).
    wide = all(n >= s for n, s in zip(cropped, window.strides, strict=True))
    same = window.is_same(cropped) and wide
    sizes = cropped if same else full
    # TFLite's transposed convolution pads as SAME does, or not: any other padding is cut off.
    y = gen_nn_ops.conv2d_backprop_input(
        np.array([batch, *sizes, weight.shape[1]], np.int32),
        constant(np.ascontiguousarray(weight.transpose(2, 3, 1, 0))),
        x,
        strides=[1, *window.strides, 1],
        padding="SAME" if same else "VALID",
    )
    if same or full == cropped:
        return y
    begin = np.array([0, *(before for before, _ in window.pads), 0], np.int32)
    size = np.array([batch, *cropped, weight.shape[1]], np.int32)
    return gen_array_ops._slice(y, begin, size)


def _spread(weight: np.ndarray, dilations: Shape) -> np.ndarray:
    """The filter with zeros between its elements, which is what dilation means."""
    if all(d == 1 for d in dilations):
        return weight
    *channels, height, width = weight.shape
    down, right = dilations
    spread = np.zeros((*channels, (height - 1) * down + 1, (width - 1) * right + 1), weight.dtype)
    spread[..., ::down, ::right] = weight
    return spread


def _biased(call: Call, y: Tensor) -> Tensor:
    """With its bias, as the BiasAdd that both converters fuse into the convolution."""
    return gen_nn_ops.bias_add(y, constant(call.constant(2, "bias"))) if call.has(2) else y
