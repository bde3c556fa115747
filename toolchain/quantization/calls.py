"""What the operations of a captured graph do to numbers, and which maps they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, fx, nn

from converters.graph.captured import CapturedGraph
from converters.graph.sources import module_of, operation_of
from toolchain.quantization.grids import LAYERS

Kind = Literal["kernel", "sum", "rectify", "select", "other"]
"""What an operation does to numbers.

"kernel" and "sum" compute new ones, "rectify" clips them at 0 (and 6), "select" moves or drops
some and changes none.
"""


def is_map(value: object) -> bool:
    """Whether it is a tensor of floats with an axis beside the batch."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.dim() >= 2


@dataclass(frozen=True)
class MapCall:
    """An operation; the maps that it reads are numbers of others, or below 0 the inputs.

    `layer` is the path of the module whose kernel it reads, if any. `single` is whether its
    result is one tensor.
    """

    kind: Kind
    reads: tuple[int, ...]
    layer: str = ""
    single: bool = True

    @property
    def known(self) -> bool:
        """Whether an operation made, or the caller gave, all that it reads."""
        return bool(self.reads) and CONSTANT not in self.reads


CONSTANT = -(10**6)
"""The number of a map that neither an operation made nor the caller gave."""


def number_nodes(graph: fx.Graph) -> dict[fx.Node, int]:
    """The operations from 0 on, the inputs from -1 down: -1 is the first."""
    numbers: dict[fx.Node, int] = {}
    inputs = graph.find_nodes(op="placeholder")
    operations = [node for node in graph.nodes if node.op == "call_function"]
    numbers.update((node, -1 - place) for place, node in enumerate(inputs))
    numbers.update((node, place) for place, node in enumerate(operations))
    return numbers


def list_calls(captured: CapturedGraph, module: nn.Module) -> tuple[list[MapCall], tuple[int, ...]]:
    """The operations of a module's graph, and the numbers of those whose results are returned."""
    numbers = number_nodes(captured.graph)
    layers = {path: m for path, m in module.named_modules() if path and isinstance(m, LAYERS)}
    paths = {layer.weight.data_ptr(): path for path, layer in layers.items()}
    calls = []
    for node in captured.operations:
        given = [n for n in node.all_input_nodes if is_map(n.meta["val"])]
        kernels = {
            n: captured.constant(n).data_ptr()
            for n in given
            if n.op == "get_attr" and captured.constant(n).data_ptr() in paths
        }
        reads = tuple(numbers.get(n, CONSTANT) for n in given if n not in kernels)
        layer = next((_layer(node, layers, paths, k) for k in kernels.values()), "")
        calls.append(MapCall(kind_of(node), reads, layer, isinstance(node.meta["val"], Tensor)))
    return calls, tuple(numbers.get(node, CONSTANT) for node in captured.outputs)


def _layer(node: fx.Node, layers: Mapping[str, Any], paths: Mapping[int, str], kernel: int) -> str:
    """The layer that calls an operation with its kernel, or else one that has this kernel."""
    own = layers.get(module_of(node))
    is_own = own is not None and own.weight.data_ptr() == kernel
    return module_of(node) if is_own else paths[kernel]


KERNELS = ("conv2d", "conv_transpose2d", "linear")
SELECTS = (
    *("cat", "chunk", "split", "split_with_sizes", "getitem", "narrow", "slice", "select"),
    *("index", "unbind", "reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze"),
    *("permute", "transpose", "t", "max_pool2d", "pixel_shuffle", "pixel_unshuffle"),
    # Bilinear enlarging makes new numbers, which lie between the codes.
    *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
    *("upsample_nearest_exact1d", "upsample_nearest_exact2d", "upsample_nearest_exact3d"),
)


def kind_of(node: fx.Node) -> Kind:
    """What an operation does to numbers."""
    name, args = operation_of(node), node.args
    if name in KERNELS:
        return "kernel"
    if name == "add":
        return "sum" if _is_plain_sum(args) else "other"
    # Only these bounds: integer runtimes have an activation for them, and for no other clipping.
    if name in ("relu", "relu6") or (name == "hardtanh" and args[1:3] == (0, 6)):
        return "rectify"
    if name in SELECTS or (name in ("pad", "constant_pad_nd") and not _filling(node)):
        return "select"
    return "other"


def _is_plain_sum(args: Sequence[Any]) -> bool:
    """Of two maps of one shape; one that is scaled is a product and a sum in a graph."""
    values = [a.meta["val"] for a in args if isinstance(a, fx.Node)]
    return len(values) == 2 and all(map(is_map, values)) and values[0].shape == values[1].shape


def _filling(node: fx.Node) -> Any:
    """What a padding writes around a map: nothing new where it repeats what is there."""
    place = 3 if operation_of(node) == "pad" else 2
    return node.args[place] if len(node.args) > place else None
