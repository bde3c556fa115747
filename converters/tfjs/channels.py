"""Kernels with a scale for each channel, which TF.js's files cannot say: the graph multiplies.

Their codes take a byte each, also those of fewer bits: a server's compression then takes out what
a byte does not need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from converters.encodings import Encoding, place
from converters.lowering.tf import GraphDef, NodeDef, make_ndarray, make_tensor_proto
from converters.tfjs.contents import CODES, SCALES

BYTES = Encoding("uint8", (1.0,), -128.0)
"""How TF.js's files store the integers of one signed byte, exactly."""


def multiplied(graph: GraphDef, grids: Sequence[Encoding]) -> GraphDef:
    """The graph with each constant that lies on scales of its channels as a product.

    Before: Const(w)
    After:  Mul(Const(codes), Const(scales)), which is w to the bit
    """
    signed = [grid for grid in grids if _is_signed(grid)]
    result = GraphDef(versions=graph.versions)
    for node in graph.node:
        result.node.extend(_product(node, signed) if node.op == "Const" else [node])
    return result


def stored_as(grids: Sequence[Encoding]) -> tuple[Encoding, ...]:
    """The grids as TF.js's files can say them: unsigned, with one scale."""
    found: dict[Encoding, None] = {}
    for grid in grids:
        if not _is_signed(grid):
            found[grid] = None
        elif len(grid.scales) > 1:
            found[BYTES] = None
        else:
            # TF.js adds the minimum in float64 and rounds once: code * scale - 128 * scale is exact
            # there, and becomes the product of float32 that the signed code stands for.
            found[Encoding("uint8", grid.scales, -128.0 * grid.scales[0])] = None
    return tuple(found)


def _is_signed(grid: Encoding) -> bool:
    """Whether its codes are integers that a signed byte holds."""
    return grid.dtype in ("int8", "int6", "int4") and not grid.block


def _product(node: NodeDef, grids: Sequence[Encoding]) -> Iterator[NodeDef]:
    array = make_ndarray(node.attr["value"].tensor)
    grid = place(array, grids) if array.dtype == np.float32 and array.ndim else None
    if grid is None or len(grid.scales) == 1:
        yield node
        return
    # The codes are floats in the graph, as a Mul has one type; BYTES stores them as bytes.
    codes, scales = f"{node.name}{CODES}", f"{node.name}{SCALES}"
    yield _const(codes, grid.codes(array).astype(np.float32))
    yield _const(scales, grid.scales_for(array.shape))
    product = NodeDef(name=node.name, op="Mul", input=[codes, scales])
    product.attr["T"].CopyFrom(node.attr["dtype"])
    yield product


def _const(name: str, array: np.ndarray) -> NodeDef:
    node = NodeDef(name=name, op="Const")
    node.attr["value"].tensor.CopyFrom(make_tensor_proto(array))
    node.attr["dtype"].type = node.attr["value"].tensor.dtype
    return node
