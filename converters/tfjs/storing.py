"""In which types a TF.js model stores its constants: never in one that moves it off its grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converters.encodings import HALF, Encoding, is_half, place
from converters.lowering.tf import GraphDef, make_ndarray
from model_defs.errors import UnsupportedOperation


@dataclass(frozen=True)
class Storing:
    """The precision of constants, and the grids on which some of them lie.

    A constant is stored as codes only if a grid holds each of its numbers to the bit; others at
    the precision, of a `mixed` file only what float16 holds exactly.
    """

    precision: str
    grids: tuple[Encoding, ...] = ()
    mixed: bool = False

    def encoding_of(self, array: np.ndarray) -> Encoding | None:
        """How an array is stored; None as it is."""
        if array.dtype != np.float32 or array.ndim == 0:
            return None
        if (grid := place(array, self.grids)) is not None:
            return grid
        return HALF if is_half(array, self.precision, mixed=self.mixed) else None


def constants(graph: GraphDef) -> dict[str, np.ndarray]:
    """The graph's constants by name, 64-bit integers in 32 bits, which is what TF.js has.

    Raises UnsupportedOperation for another type, or for an integer that 32 bits do not hold.
    """
    found = {}
    for node in graph.node:
        if node.op == "Const":
            array = make_ndarray(node.attr["value"].tensor)
            if array.dtype == np.int64 and (array == array.astype(np.int32)).all():
                array = array.astype(np.int32)
            if array.dtype not in (np.float32, np.int32, np.bool_):
                what = f"TF.js has no constants of type {array.dtype}"
                raise UnsupportedOperation(what, where=node.name)
            found[node.name] = array
    return found
