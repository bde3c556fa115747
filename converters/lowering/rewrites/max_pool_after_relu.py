"""Max-pooling's padding with zeros where nothing is below zero."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from converters.lowering.graph import Graph, Node
from converters.lowering.rewrites.edit import Edit, Links, node, with_attributes
from converters.lowering.window import Window

NON_NEGATIVE = frozenset(["Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Sqrt"])
KEEPING = frozenset(
    [
        *("Add", "AveragePool", "Concat", "DepthToSpace", "FakeQuantize", "Flatten"),
        *("GlobalAveragePool", "GlobalMaxPool", "MaxPool", "Mul", "Reshape", "Slice"),
        *("Squeeze", "Transpose"),
    ]
)
"""Operations whose result is at least 0 if all that they compute from is."""


@dataclass(frozen=True)
class MaxPoolAfterRelu:
    """Pads with zeros, which XNNPACK runs, instead of minus infinity, which it leaves to LiteRT.

    Before: MaxPool(Relu(x), pads = p)
    After:  MaxPool(Pad(Relu(x), p, 0))

    No maximum changes, since each window holds an element of the input and none is below 0.
    Blocked by an input that may be negative, by dilation, and by padding that TensorFlow's
    SAME adds itself.
    """

    name = "max-pool-after-relu"

    def __call__(self, graph: Graph) -> Graph:
        links, edit = Links(graph), Edit(graph)
        for pool in graph.nodes:
            if pool.op != "MaxPool" or len(pool.outputs) > 1:
                continue
            pads = _padding(graph, pool)
            if pads is not None and _is_non_negative(links, pool.inputs[0]):
                edit.replace([pool], _padded(edit, pool, pads))
        return edit.done()


def _padding(graph: Graph, pool: Node) -> tuple[tuple[int, int], ...] | None:
    """What has to be added on each side; None if nothing, or if SAME does it."""
    a = pool.attributes
    rank, kernel = len(a["kernel_shape"]), tuple(a["kernel_shape"])
    if max(a.get("dilations", [1])) > 1 or a.get("auto_pad", "NOTSET") != "NOTSET":
        return None
    strides = tuple(a.get("strides", [1] * rank))
    before = a.get("pads", [0] * 2 * rank)[:rank]
    spatial, results = graph.shapes[pool.inputs[0]][2:], graph.shapes[pool.outputs[0]][2:]
    # ONNX's ceil_mode is in the results' sizes: what the last window reads beyond the input is
    # padding, too, and what no window reads is none.
    pads = tuple(
        (front, max((out - 1) * stride + size - n - front, 0))
        for out, stride, size, n, front in zip(
            results, strides, kernel, spatial, before, strict=True
        )
    )
    window = Window(kernel, strides, (1,) * rank, pads)
    return None if window.is_valid or window.is_same(spatial) else pads


def _is_non_negative(links: Links, name: str) -> bool:
    constant = links.graph.constants.get(name)
    if constant is not None:
        return bool((constant >= 0).all())
    maker = links.maker(name)
    if maker is None:
        return False
    if maker.op == "Clip":
        low = links.scalar(maker.inputs[1]) if len(maker.inputs) > 1 else None
        return low is not None and low >= 0
    if maker.op in KEEPING:
        # Their other inputs are sizes and places, which may well be negative.
        data = maker.inputs[:1] if maker.op in ("Reshape", "Slice", "Squeeze") else maker.inputs
        return all(_is_non_negative(links, source) for source in data)
    return maker.op in NON_NEGATIVE


def _padded(edit: Edit, pool: Node, pads: tuple[tuple[int, int], ...]) -> list[Node]:
    (source,) = pool.inputs
    shape = edit.graph.shapes[source]
    spatial = tuple(n + sum(p) for n, p in zip(shape[2:], pads, strict=True))
    padded = edit.value(f"{pool.name}/padded", shape[:2] + spatial)
    flat = [0, 0, *(front for front, _ in pads), 0, 0, *(behind for _, behind in pads)]
    widths = edit.constant(f"{pool.name}/pads", np.array(flat, np.int64))
    return [
        node("Pad", f"{pool.name}/pad", [source, widths], [padded], mode="constant"),
        with_attributes(replace(pool, inputs=(padded,)), pads=None, ceil_mode=None),
    ]
