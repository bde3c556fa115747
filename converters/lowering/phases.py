"""Convolutions of enlarged maps, computed on the small map: one for each phase of the result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converters.lowering.call import Call, nhwc
from converters.lowering.join import joined
from converters.lowering.pad import cropped
from converters.lowering.tf import Tensor, constant, gen_array_ops, gen_math_ops, gen_nn_ops
from converters.lowering.value import Value, reshape


@dataclass(frozen=True)
class Phases:
    """One axis of a convolution over a map whose `size` pixels are each repeated `scale` times.

    Result o reads the enlarged map at q + t for each tap t, where q = o - before; the map holds
    pixel (q + t) // scale there, and zeros outside. With q = scale * i + a that is pixel
    i + (a + t) // scale: phase a is a convolution over the pixels, whose tap d is the sum of the
    taps t with (a + t) // scale == d. No sum changes with i, hence the equality.
    """

    size: int
    scale: int
    kernel: int
    before: int
    after: int

    @property
    def results(self) -> int:
        return self.size * self.scale + self.before + self.after - self.kernel + 1

    @property
    def reach(self) -> int:
        """The taps over pixels that the widest phase needs."""
        return (self.scale + self.kernel - 2) // self.scale + 1

    def taps(self, phase: int, reach: int) -> np.ndarray:
        """(reach, kernel): 1 where a tap of the kernel belongs to a tap of the phase."""
        places = (phase + np.arange(self.kernel)) // self.scale
        return (places == np.arange(reach)[:, None]).astype(np.float32)

    def reach_of(self, phase: int) -> int:
        return (phase + self.kernel - 1) // self.scale + 1

    def row(self, nth: int) -> tuple[int, tuple[int, int]]:
        """The phase of results nth, nth + scale and so on, and the padding that it needs."""
        start, phase = divmod(nth - self.before, self.scale)
        end = start + self.results // self.scale + self.reach_of(phase) - 1
        return phase, (-start, end - self.size)

    def all_phases(self) -> tuple[int, tuple[int, int]]:
        """For all phases at once: how many results come too early, and the padding."""
        start, early = divmod(-self.before, self.scale)
        last = (self.results - 1 - self.before) // self.scale
        return early, (-start, last + self.reach - self.size)


def conv_of_nearest(call: Call) -> Value:
    """A convolution over a map enlarged by `scale`, from the small map; then an activation.

    No operation of ONNX: the rewrite conv-of-nearest puts it in the place of a Conv. `pads` are
    (before, after) of rows and columns of the enlarged map; below 0, they crop it.

    Each phase of the rows is a convolution whose channels are the phases of the columns: they
    lie already where the large row has them, so that only whole rows are joined.
    """
    a = call.read(scale=2, pads=((0, 0), (0, 0)), activation="")
    weight = call.constant(1, "weight")
    (n, _, *sizes), filters = call.value().shape, weight.shape[0]
    rows, columns = (
        Phases(size, a.scale, kernel, *ends)
        for size, kernel, ends in zip(sizes, weight.shape[2:], a.pads, strict=True)
    )
    # All phases of the columns are padded for the widest one: they are channels of the same
    # convolution. What the others compute too early, or too late, is cut off at the end.
    early, across = columns.all_phases()
    parts = []
    for nth in range(a.scale):
        phase, down = rows.row(nth)
        y = _convolved(call, _kernel(call, weight, rows, phase, columns), (down, across))
        y = ACTIVATIONS[a.activation](y)
        parts.append(reshape(y, (n, -1, 1, int(y.shape[2]) * a.scale * filters)))
    y, wide = joined(call.target, parts, 2), int(parts[0].shape[3])
    if wide != columns.results * filters:
        y = reshape(y, (n, rows.results, wide))
        begin = np.array([0, 0, early * filters], np.int32)
        size = np.array([n, rows.results, columns.results * filters], np.int32)
        y = gen_array_ops._slice(y, begin, size)
    return nhwc(reshape(y, (n, rows.results, columns.results, filters)))


ACTIVATIONS = {"": lambda y: y, "Relu": gen_nn_ops.relu, "Elu": gen_nn_ops.elu}


def _convolved(call: Call, kernel: Tensor, pads: tuple[tuple[int, int], ...]) -> Tensor:
    """The small map padded, or less of it, convolved; the same bias for each phase."""
    whole, padded = [(0, 0), *pads, (0, 0)], any(n > 0 for ends in pads for n in ends)
    x = cropped(call.nhwc(), whole)
    pads = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    explicit = padded and call.target == "tfjs"
    if padded and not explicit:
        x = gen_array_ops.pad(x, np.array([(0, 0), *pads, (0, 0)], np.int32))
    y = gen_nn_ops.conv2d(
        x,
        kernel,
        strides=[1, 1, 1, 1],
        padding="EXPLICIT" if explicit else "VALID",
        explicit_paddings=[0, 0, *pads[0], *pads[1], 0, 0] if explicit else [],
    )
    if not call.has(2):
        return y
    bias = call.constant(2, "bias")
    return gen_nn_ops.bias_add(y, constant(np.tile(bias, int(kernel.shape[3]) // bias.size)))


def _kernel(call: Call, weight: np.ndarray, rows: Phases, phase: int, columns: Phases) -> Tensor:
    """The kernel of a phase of the rows and all phases of the columns, (H, W, I, scale * O).

    TFLite stores it, since XNNPACK wants constants; TF.js stores the weight and sums while it
    runs, so that a file is no larger and codes of a grid stay codes.
    """
    filters, channels, height, width = weight.shape
    high, wide, scale = rows.reach_of(phase), columns.reach, columns.scale
    down = rows.taps(phase, high)
    across = np.stack([columns.taps(b, wide) for b in range(scale)])
    if call.target == "tflite":
        # Summed in float64: the taps of a phase are then rounded once, not once a sum.
        kernel = np.einsum("pt,bqu,oitu->pqibo", down, across, weight.astype(np.float64))
        return constant(kernel.reshape(high, wide, channels, -1).astype(np.float32))
    which = np.einsum("pt,bqu->pqbtu", down, across).reshape(-1, height * width)
    stored = constant(np.ascontiguousarray(weight.transpose(2, 3, 1, 0)))
    sums = gen_math_ops.mat_mul(constant(which), reshape(stored, (height * width, -1)))
    apart = reshape(sums, (high * wide, scale, channels, filters))
    kernel = gen_array_ops.transpose(apart, [0, 2, 1, 3])
    return reshape(kernel, (high, wide, channels, scale * filters))
