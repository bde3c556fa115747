"""GridSample: a map read at places that a grid names, constant or computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TypeAlias

import numpy as np

from converters.lowering.activation import add, mul
from converters.lowering.call import Call
from converters.lowering.tf import Tensor, constant, gen_array_ops, gen_math_ops, int32
from converters.lowering.value import Value, as_tensor, channels_last

Numbers: TypeAlias = np.ndarray | Tensor


def grid_sample(call: Call) -> Value:
    """GridSample of maps and volumes: nearest, linear or cubic; zeros, border or reflection.

    Each result is a sum of the pixels around its place (1, 4 or 16 of a map), all of which one
    Gather of the flat map takes. What a constant grid decides is computed while converting.
    """
    a = call.read(align_corners=0, mode="linear", padding_mode="zeros")
    kernel = KERNELS.get(a.mode)
    if kernel is None or a.padding_mode not in PADDED:
        raise call.refuse(f"mode '{a.mode}', padding_mode '{a.padding_mode}'")
    value, rank = call.value(), call.value().rank
    channels, spatial = value.shape[1], value.shape[2:]
    x = as_tensor(call.arrange(value, channels_last(rank)))
    rows = gen_array_ops.reshape(x, np.array([-1, channels], np.int32))
    # The grid's last axis names the width first, the axes of the map the other way round.
    axes = [SampledAxis(size, bool(a.align_corners), a.padding_mode) for size in spatial]
    taps = [
        axis.taps(kernel, places)
        for axis, places in zip(axes, reversed(_columns(call)), strict=True)
    ]
    order = channels_last(rank)
    sizes = np.array([call.shape[axis] for axis in order], np.int32)
    return Value(gen_array_ops.reshape(_sampled(call, rows, taps, spatial), sizes), order)


def _columns(call: Call) -> list[Numbers]:
    """The grid's coordinates, each as (1, all places)."""
    grid = call.value(1)
    count = grid.shape[-1]
    if grid.is_constant:
        return [grid.logical[..., i].astype(np.float32).reshape(1, -1) for i in range(count)]
    flat = gen_array_ops.reshape(call.logical(1), np.array([-1, count], np.int32))
    size = np.array([int(flat.shape[0]), 1], np.int32)
    columns = [gen_array_ops._slice(flat, np.array([0, i], np.int32), size) for i in range(count)]
    return [gen_array_ops.reshape(column, np.array([1, -1], np.int32)) for column in columns]


@dataclass(frozen=True)
class Kernel:
    """The pixels that count along an axis, from the one at or before a place.

    Of a part t of a pixel behind it, tap k counts as the polynomial `powers[k]` of t, the
    highest power first; without powers the nearest pixel is taken.
    """

    offsets: tuple[int, ...] = (0,)
    powers: tuple[tuple[float, ...], ...] = ()
    # Whether each tap is padded by itself, so that the kernel keeps its form at the edges, or the
    # place between them.
    pads_taps: bool = False

    def factors(self, t: Numbers) -> Numbers:
        """(taps, all places): by Horner's rule, a column of coefficients for all taps at once."""
        on, columns = _on(t), np.array(self.powers, np.float32).T[:, :, None]
        result = on.add(on.mul(t, on.number(columns[0])), on.number(columns[1]))
        for column in columns[2:]:
            result = on.add(on.mul(result, t), on.number(column))
        return result


A = -0.75
"""Keys' coefficient, as PyTorch and ONNX have it."""
LINEAR = Kernel((0, 1), ((-1, 1), (1, 0)))
CUBIC = Kernel(
    (-1, 0, 1, 2),
    (
        (A, -2 * A, A, 0),
        (A + 2, -A - 3, 0, 1),
        (-A - 2, 2 * A + 3, -A, 0),
        (-A, A, 0, 0),
    ),
    pads_taps=True,
)
KERNELS = {
    "nearest": Kernel(),
    "linear": LINEAR,
    "bilinear": LINEAR,
    "cubic": CUBIC,
    "bicubic": CUBIC,
}
PADDED = ("zeros", "border", "reflection")


@dataclass(frozen=True)
class Taps:
    """(taps, all places): which pixels are taken along an axis, and their factors, if any."""

    pixels: Numbers
    factors: Numbers | None


@dataclass(frozen=True)
class SampledAxis:
    """An axis of the map, and what the grid's numbers mean along it."""

    size: int
    corners: bool
    padding: str

    def taps(self, kernel: Kernel, places: Numbers) -> Taps:
        on, places = _on(places), self.unnormalised(places)
        if not kernel.pads_taps:
            places = self.padded(places)
        if not kernel.powers:
            return self._counted(on.round(places), None)
        below = on.floor(places)
        factors = kernel.factors(on.sub(places, below))
        offsets = np.array(kernel.offsets, np.float32)[:, None]
        pixels = on.add(below, on.number(offsets))
        if kernel.pads_taps:
            pixels = on.round(self.padded(pixels))
        return self._counted(pixels, factors)

    def _counted(self, pixels: Numbers, factors: Numbers | None) -> Taps:
        """Pixels of the map; of those outside, the factor is 0 where zeros are around it."""
        on = _on(pixels)
        inside = on.minimum(on.maximum(pixels, on.number(0)), on.number(self.size - 1))
        if self.padding == "zeros":
            counts = on.equal(pixels, inside)
            factors = counts if factors is None else on.mul(factors, counts)
        return Taps(on.integers(inside), factors)

    def unnormalised(self, places: Numbers) -> Numbers:
        """From -1..1 to pixels: the ends are the outermost pixels' centres, or the map's edges.

        In PyTorch's order, so that both round alike.
        """
        on = _on(places)
        from_first = on.add(places, on.number(1))
        if self.corners:
            return on.mul(on.mul(from_first, on.number(0.5)), on.number(self.size - 1))
        inner = on.sub(on.mul(from_first, on.number(self.size)), on.number(1))
        return on.mul(inner, on.number(0.5))

    def padded(self, places: Numbers) -> Numbers:
        """Places within the map; what lies outside of one padded with zeros stays just outside."""
        on = _on(places)
        if self.padding == "reflection":
            places = self._reflected(places)
        far = FAR if self.padding == "zeros" else 0
        return on.minimum(on.maximum(places, on.number(-far)), on.number(self.size - 1 + far))

    def _reflected(self, places: Numbers) -> Numbers:
        """Between the outermost centres, or the edges: a zigzag whose period is twice that."""
        on = _on(places)
        low, span = (0.0, self.size - 1.0) if self.corners else (-0.5, float(self.size))
        if span == 0:
            return on.mul(places, on.number(0))
        place = on.abs(on.sub(places, on.number(low)))
        turns = on.floor(on.mul(place, on.number(0.5 / span)))
        place = on.sub(place, on.mul(turns, on.number(2 * span)))
        folded = on.sub(on.number(span), on.abs(on.sub(place, on.number(span))))
        return on.add(folded, on.number(low))


FAR = 8
"""How far outside places stay apart: beyond, no kernel reaches a pixel, and none overflows."""


def _sampled(call: Call, rows: Tensor, taps: Sequence[Taps], spatial: Sequence[int]) -> Tensor:
    """(all places, channels): the pixels of all taps by their factors, summed."""
    first, factor = _combined(call, taps, spatial)
    count = math.prod(first.shape[:-1])
    flat = gen_array_ops.reshape(_tensor(first), np.array([-1], np.int32))
    taken = gen_array_ops.gather_v2(rows, flat, 0)
    if factor is not None:
        column = gen_array_ops.reshape(_tensor(factor), np.array([-1, 1], np.int32))
        taken = mul(taken, column)
    # The taps lie one below the other: slices of memory, where a sum would transpose on WASM.
    parts = gen_array_ops.split(axis=0, value=taken, num_split=count) if count > 1 else [taken]
    total = parts[0]
    for part in parts[1:]:
        total = add(total, part)
    return total


def _combined(
    call: Call, taps: Sequence[Taps], spatial: Sequence[int]
) -> tuple[Numbers, Numbers | None]:
    """(taps of each axis..., all places): places in the flat map, and products of factors."""
    n = call.value().shape[0]
    each = math.prod(call.shape[2:])
    places: Numbers = np.repeat(np.arange(n, dtype=np.int32) * math.prod(spatial), each)
    factor: Numbers | None = None
    for axis, tap in enumerate(taps):
        shape = [1] * len(taps) + [n * each]
        shape[axis] = int(tap.pixels.shape[0])
        pixels, step = _reshaped(tap.pixels, shape), math.prod(spatial[axis + 1 :])
        on = _on(pixels)
        pixels = pixels if step == 1 else on.mul(pixels, on.number(step, np.int32))
        places = _both(places, pixels).add(places, pixels)
        if tap.factors is not None:
            other = _reshaped(tap.factors, shape)
            factor = other if factor is None else _both(factor, other).mul(factor, other)
    return places, factor


def _reshaped(x: Numbers, shape: list[int]) -> Numbers:
    if isinstance(x, np.ndarray):
        return x.reshape(shape)
    return gen_array_ops.reshape(x, np.array(shape, np.int32))


def _tensor(x: Numbers) -> Tensor:
    return constant(x) if isinstance(x, np.ndarray) else x


ON_ARRAYS = SimpleNamespace(
    abs=np.abs,
    add=np.add,
    equal=lambda x, y: (x == y).astype(np.float32),
    floor=np.floor,
    integers=lambda x: x.astype(np.int32),
    maximum=np.maximum,
    minimum=np.minimum,
    mul=np.multiply,
    number=lambda x, kind=np.float32: np.asarray(x, kind),
    round=np.rint,
    sub=np.subtract,
)
ON_TENSORS = SimpleNamespace(
    abs=gen_math_ops._abs,
    add=gen_math_ops.add_v2,
    equal=lambda x, y: gen_math_ops.cast(gen_math_ops.equal(x, y), x.dtype),
    floor=gen_math_ops.floor,
    integers=lambda x: gen_math_ops.cast(x, int32),
    maximum=gen_math_ops.maximum,
    minimum=gen_math_ops.minimum,
    mul=gen_math_ops.mul,
    number=lambda x, kind=np.float32: constant(np.asarray(x, kind)),
    round=gen_math_ops.round,
    sub=gen_math_ops.sub,
)
"""The same arithmetic while converting and while running."""


def _on(x: Numbers) -> SimpleNamespace:
    return ON_ARRAYS if isinstance(x, np.ndarray) else ON_TENSORS


def _both(x: Numbers, y: Numbers) -> SimpleNamespace:
    """What computes with two, of which a tensor may be one."""
    arrays = isinstance(x, np.ndarray) and isinstance(y, np.ndarray)
    return ON_ARRAYS if arrays else ON_TENSORS
