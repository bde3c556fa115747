"""Rewrites of the ONNX graph before it is lowered, each for the targets that profit.

Each is a frozen dataclass with a name, takes a graph and returns another, or the same object
where it changes nothing, and computes the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from converters.lowering.call import Target
from converters.lowering.graph import Graph
from converters.lowering.rewrites.broadcast_in_place import FAST_ON_WASM, BroadcastInPlace
from converters.lowering.rewrites.conv_of_nearest import ConvOfNearest
from converters.lowering.rewrites.fuse_fake_quantize import FuseFakeQuantize
from converters.lowering.rewrites.fuse_gelu import FuseGelu
from converters.lowering.rewrites.fuse_group_norm import FuseGroupNorm
from converters.lowering.rewrites.max_pool_after_relu import MaxPoolAfterRelu
from converters.lowering.rewrites.nearest_as_concats import NearestAsConcats
from converters.lowering.rewrites.pad_as_slices import PadAsSlices
from converters.lowering.rewrites.pixel_shuffle_of_conv import PixelShuffleOfConv
from converters.lowering.rewrites.pointwise_before_nearest import PointwiseBeforeNearest
from converters.lowering.rewrites.select_as_product import SelectAsProduct
from converters.lowering.rewrites.stacked_pixel_shuffle import StackedPixelShuffle


class Rewrite(Protocol):
    @property
    def name(self) -> str: ...

    def __call__(self, graph: Graph) -> Graph: ...


# The order matters. ConvOfNearest looks for Resize and Pad, and makes some: the rewrites that put
# others in their place come after it. MaxPoolAfterRelu knows FakeQuantize, which is made first.
REWRITES: Mapping[Target, tuple[Rewrite, ...]] = {
    "tflite": (
        FuseFakeQuantize(),
        FuseGelu(),
        FuseGroupNorm(),
        BroadcastInPlace(),
        StackedPixelShuffle(),
        PixelShuffleOfConv(),
        PointwiseBeforeNearest(),
        ConvOfNearest(per_weight=8192),
        PadAsSlices(),
        NearestAsConcats(),
        MaxPoolAfterRelu(),
        SelectAsProduct(),
    ),
    "tfjs": (
        # Fewer than above: those are for XNNPACK's sake, or gain nothing on WASM.
        BroadcastInPlace(ops=FAST_ON_WASM),
        StackedPixelShuffle(),
        PixelShuffleOfConv(),
        PointwiseBeforeNearest(),
        ConvOfNearest(per_weight=256),
        PadAsSlices(modes=("edge", "wrap")),
        SelectAsProduct(broadcasting=True),
    ),
}


def rewritten(graph: Graph, target: Target, *, as_stored: bool = False) -> Graph:
    """The graph after the target's rewrites, in their order.

    `as_stored` leaves kernels the numbers that an export says how to store: neither sums of
    their taps, which lie on no grid, nor parts of them.
    """
    for rewrite in REWRITES[target]:
        if not (as_stored and isinstance(rewrite, ConvOfNearest)):
            graph = rewrite(graph)
    return graph
