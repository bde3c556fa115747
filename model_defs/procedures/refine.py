"""Graph-cut refinement of a selection: the cheapest border near what the net said.

The energy of Boykov 2001 as Xu 2016 uses it (section 3.3), with the net's probability in
place of a colour model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from model_defs.procedures.arrays import Mask, Picture, Plane
from model_defs.procedures.clicks import Clicks
from model_defs.procedures.matte import grey

UNIT = 256
"""Integer capacities a unit of energy: max-flow is then exact."""

HARD = 1 << 20
"""More than all neighbours of a pixel together: a clicked pixel never changes sides."""


def refine(
    probability: Plane,
    picture: Picture,
    clicks: Clicks,
    trust: float = 1.0,
    sigma: float = 0.2,
) -> Mask:
    """The mask (H, W) of least energy; probability (H, W) and picture (H, W, 3) are in 0..1.

    A pixel costs `-trust * log(p)` on the side that has probability p (kept within 1e-6 of 0
    and 1). Two neighbours of a 4-connected grid on different sides cost
    `exp(-(difference of luma)^2 / (2 * sigma^2))`. Clicked pixels stay on their side.
    """
    inside, outside = unary_costs(probability, clicks, trust)
    across, down = pairwise_costs(grey(picture), sigma)
    return minimum_cut(inside, outside, across, down)


def unary_costs(
    probability: Plane, clicks: Clicks, trust: float
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """What each pixel costs inside and outside of the mask, in 1 / UNIT."""
    inside, outside = (
        np.rint(-UNIT * trust * np.log(np.clip(p, 1e-6, 1 - 1e-6))).astype(np.int32)
        for p in (probability.astype(np.float64), 1 - probability.astype(np.float64))
    )
    for points, expensive in ((clicks.positives, outside), (clicks.negatives, inside)):
        for x, y in points:
            expensive[y, x] = HARD
    return inside, outside


def pairwise_costs(luma: Plane, sigma: float) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """What a border costs between columns (H, W - 1) and between rows (H - 1, W), in 1 / UNIT."""
    across, down = (
        np.rint(UNIT * np.exp(-(np.diff(luma, axis=axis) ** 2) / (2 * sigma**2))) for axis in (1, 0)
    )
    return across.astype(np.int32), down.astype(np.int32)


def minimum_cut(
    inside: NDArray[np.int32],
    outside: NDArray[np.int32],
    across: NDArray[np.int32],
    down: NDArray[np.int32],
) -> Mask:
    """The mask (H, W) whose pixels and borders cost least; the smallest one of several.

    The source is inside: cutting a pixel off it is the pixel's cost outside, beyond what it
    costs in any case.
    """
    pixels = np.arange(inside.size).reshape(inside.shape)
    source, sink = inside.size, inside.size + 1
    gain = outside - inside
    edges = [
        (np.full_like(pixels, source), pixels, np.maximum(gain, 0)),
        (pixels, np.full_like(pixels, sink), np.maximum(-gain, 0)),
    ]
    for first, second, cost in (
        (pixels[:, 1:], pixels[:, :-1], across),
        (pixels[1:], pixels[:-1], down),
    ):
        edges += [(first, second, cost), (second, first, cost)]
    starts, ends, costs = (
        np.concatenate([part.ravel() for part in parts]) for parts in zip(*edges, strict=True)
    )
    shape = (inside.size + 2, inside.size + 2)
    graph = csr_array(coo_array((costs, (starts, ends)), shape=shape), dtype=np.int32)
    residual = graph - maximum_flow(graph, source, sink).flow
    residual.eliminate_zeros()
    reached = breadth_first_order(residual, source, return_predecessors=False)
    mask = np.zeros(inside.size + 2, bool)
    mask[reached] = True
    return mask[:-2].reshape(inside.shape)
