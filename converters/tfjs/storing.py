"""In which types a TF.js model stores its constants: never in one that changes a number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converters.api import BITS, Encoding
from converters.lowering.tf import GraphDef, make_ndarray
from model_defs.errors import UnsupportedOperation

LARGE = 4096
"""Numbers from which on it is said that a constant lies on no grid."""


@dataclass(frozen=True)
class Storing:
    """A precision and, where it is an integer's, the grids on which the weights lie.

    A constant is stored as codes only if a grid holds each of its numbers to the bit. One that
    a rewrite made of several parameters may lie on none: it stays float32.
    """

    precision: str
    grids: tuple[Encoding, ...] = ()

    def encoding_of(self, array: np.ndarray) -> Encoding | None:
        """How an array is stored; None as it is."""
        if array.dtype != np.float32 or array.ndim == 0 or self.precision == "float32":
            return None
        if self.precision == "float16":
            return Encoding("float16") if fits_float16(array) else None
        return next((grid for grid in self.grids if _lies_on(array, grid)), None)

    def left(self, graph: GraphDef) -> tuple[str, ...]:
        """A note on the large constants that are stored in float32 although codes were wanted."""
        if not self.grids:
            return ()
        wide = {
            name: array
            for name, array in constants(graph).items()
            if array.size >= LARGE and array.dtype == np.float32 and not self.encoding_of(array)
        }
        size = sum(array.nbytes for array in wide.values())
        names = ", ".join(sorted(wide))
        return (f"stores {size / 1e6:.2f} MB in float32, on no grid: {names}",) if wide else ()


def fits_float16(array: np.ndarray) -> bool:
    """Whether float16 holds these numbers; scalars stay float32, among them every epsilon."""
    return bool(
        array.dtype == np.float32
        and array.ndim > 0
        and np.abs(array).max() <= np.finfo(np.float16).max
    )


def codes(array: np.ndarray, encoding: Encoding) -> np.ndarray:
    """The numbers as the encoding's type: itself a number, or the nearest place on the grid."""
    if encoding.dtype == "float16":
        return array.astype(np.float16)
    places = np.rint((array.astype(np.float64) - encoding.minimum) / encoding.scale)
    return places.clip(0, 2 ** BITS[encoding.dtype] - 1).astype(encoding.dtype)


def numbers(found: np.ndarray, encoding: Encoding) -> np.ndarray:
    """What tfjs makes of codes: float64 arithmetic, rounded to float32."""
    return (found.astype(np.float64) * encoding.scale + encoding.minimum).astype(np.float32)


def _lies_on(array: np.ndarray, grid: Encoding) -> bool:
    first = array.reshape(-1)[:16]
    return all(np.array_equal(numbers(codes(a, grid), grid), a) for a in (first, array))


def constants(graph: GraphDef) -> dict[str, np.ndarray]:
    """The graph's constants by name; UnsupportedOperation for a type that TF.js lacks."""
    found = {}
    for node in graph.node:
        if node.op == "Const":
            array = make_ndarray(node.attr["value"].tensor)
            if array.dtype not in (np.float32, np.int32, np.bool_):
                what = f"TF.js has no constants of type {array.dtype}"
                raise UnsupportedOperation(what, where=node.name)
            found[node.name] = array
    return found
