"""How the numbers of a parameter are stored: as floats of a type, or as codes on a grid."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

BITS = {
    **{"float32": 32, "int32": 32, "float16": 16, "uint16": 16},
    **{"uint8": 8, "int8": 8, "int6": 6, "int4": 4},
    **{f"palette{bits}": bits for bits in (8, 6, 4, 3, 2)},
}
"""The types that numbers of a network are stored in, and their width."""


@dataclass(frozen=True)
class Encoding:
    """How numbers are stored: as `dtype`, or as codes of it.

    A code of an unsigned type stands for `code * scale + minimum`, in float64 and then rounded
    to float32, as TF.js does it. A code of a signed type stands for `code * scale`, a product of
    float32: there is one scale for all, or one for each slice along `axis`, or, with `block`,
    one for each so many numbers along the other of the first two axes, blocks running fastest.
    A code of a palette stands for a number of the palette. Numbers of "int32" are biases: whole
    multiples of what a target that computes in integers adds, stored as floats by others.
    """

    dtype: str
    scales: tuple[float, ...] = (1.0,)
    minimum: float = 0.0
    axis: int = 0
    block: int = 0
    palette: tuple[float, ...] = ()

    @property
    def bits(self) -> int:
        return BITS[self.dtype]

    @property
    def is_grid(self) -> bool:
        """Whether codes are stored, not floats."""
        return not self.dtype.startswith(("float", "int32"))

    @property
    def top(self) -> int:
        """The largest code; those of signed types go as far below zero."""
        return 2 ** (self.bits - 1) - 1 if self.dtype.startswith("int") else 2**self.bits - 1

    def numbers(self, codes: np.ndarray) -> np.ndarray:
        """The float32 numbers that codes stand for, of the same shape."""
        if self.palette:
            return np.asarray(self.palette, np.float32)[codes]
        if self.dtype.startswith("uint"):
            return (codes.astype(np.float64) * self.scales[0] + self.minimum).astype(np.float32)
        return codes.astype(np.float32) * self.scales_for(codes.shape)

    def codes(self, array: np.ndarray) -> np.ndarray:
        """The codes of the numbers on the grid that are nearest to these, of the same shape."""
        if self.palette:
            ordered = np.asarray(self.palette, np.float64)
            middles = (ordered[1:] + ordered[:-1]) / 2
            return np.searchsorted(middles, array.astype(np.float64)).astype(np.uint8)
        wide = array.astype(np.float64)
        if self.dtype.startswith("uint"):
            places = np.rint((wide - self.minimum) / self.scales[0])
            return places.clip(0, self.top).astype(self.dtype)
        places = np.rint(wide / self.scales_for(array.shape))
        return places.clip(-self.top, self.top).astype(np.int8)

    def scales_for(self, shape: tuple[int, ...]) -> np.ndarray:
        """The scale of each number of an array of this shape, to be broadcast."""
        scales = np.asarray(self.scales, np.float32)
        if scales.size == 1:
            return scales.reshape(())
        if not self.block:
            return scales.reshape([-1 if a == self.axis else 1 for a in range(len(shape))])
        other = 1 - self.axis
        blocks = scales.reshape(shape[self.axis], -1)
        blocks = blocks if self.axis == 0 else blocks.T
        blocks = blocks.reshape(*blocks.shape, *[1] * (len(shape) - 2))
        return np.repeat(blocks, self.block, axis=other)

    def bytes(self, count: int) -> int:
        """What so many numbers take in a file, with their float16 scales or palette."""
        tables = len(self.palette) or (len(self.scales) if len(self.scales) > 1 else 0)
        return (count * self.bits + 7) // 8 + 2 * tables

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Encoding:
        return cls(**dict(data, scales=tuple(data["scales"]), palette=tuple(data["palette"])))


HALF = Encoding("float16")


def is_half(array: np.ndarray, precision: str, *, mixed: bool = False) -> bool:
    """Whether a constant that lies on no grid is stored as float16.

    Not where the precision is another, not scalars (among them every epsilon), and not what
    float16 cannot hold. In a `mixed` file what it does not hold exactly stays float32 as well:
    what was to become float16 is exact already, and a converter may have multiplied the rest.
    """
    if precision != "float16" or array.dtype != np.float32 or array.ndim == 0:
        return False
    if mixed:
        return is_exact(array)
    return bool(np.abs(array).max() <= np.finfo(np.float16).max)


def is_exact(array: np.ndarray) -> bool:
    """Whether float16 holds each of these numbers."""
    with np.errstate(over="ignore"):
        return np.array_equal(array.astype(np.float16).astype(array.dtype), array)


LARGE = 4096
"""Numbers from which on it is said that a constant lies on no grid."""


def left(
    constants: Mapping[str, np.ndarray], grids: Collection[Encoding], precision: str
) -> tuple[str, ...]:
    """A note on the large constants that lie on no grid although codes were wanted."""
    if not grids:
        return ()
    others = {
        name: array.size
        for name, array in constants.items()
        if array.size >= LARGE and array.dtype == np.float32 and not place(array, grids)
    }
    size = sum(others.values()) * BITS[precision] // 8
    what = f"stores {size / 1e6:.2f} MB in {precision}, on no grid"
    return (f"{what}: {', '.join(sorted(others))}",) if others else ()


def place(array: np.ndarray, grids: Iterable[Encoding]) -> Encoding | None:
    """The first grid that holds each number of an array to the bit, its axis the array's.

    A converter may have transposed a kernel, or taken some of its channels: the axis is the one
    along which the numbers lie on the grid. Numbers of float16 may be the grid's, so rounded.
    """
    fitting = (laid for grid in grids for laid in _layouts(array, grid))
    return next((laid for laid in fitting if _holds(laid, array)), None)


def _layouts(array: np.ndarray, grid: Encoding) -> Iterator[Encoding]:
    """The grid along each axis, and each run of channels, that an array of this shape may have."""
    if len(grid.scales) == 1:  # one for all, whatever axis it had; a bias has but one
        yield replace(grid, axis=0)
    elif grid.block:
        if array.ndim >= 2 and array.shape[grid.axis] * array.shape[1 - grid.axis] == (
            len(grid.scales) * grid.block
        ):
            yield grid
    else:
        total = len(grid.scales)
        for axis, size in enumerate(array.shape):
            if size > 1 and total % size == 0:
                for start in range(0, total, size):
                    yield replace(grid, axis=axis, scales=grid.scales[start : start + size])


def _holds(grid: Encoding, array: np.ndarray) -> bool:
    """Asked of a few numbers of each channel first: most grids are another kernel's."""
    if grid.block:
        return _equal(grid, array)
    few = np.moveaxis(array, grid.axis, 0).reshape(array.shape[grid.axis], -1)[:, :3]
    return _equal(replace(grid, axis=0), few) and _equal(grid, array)


def _equal(grid: Encoding, array: np.ndarray) -> bool:
    return np.array_equal(grid.numbers(grid.codes(array)).astype(array.dtype), array)
