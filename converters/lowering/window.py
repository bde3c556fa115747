"""Sliding windows: how ONNX and TensorFlow pad what convolutions and pools slide over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from converters.lowering.call import Call
from converters.lowering.graph import Shape
from converters.lowering.value import Value, reshaped

Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Window:
    """A window over spatial axes: kernel, strides, dilations and (before, after) padding."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    pads: Pads

    @property
    def reach(self) -> Shape:
        """The sizes that the kernel spans with its dilations."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def sizes(self, spatial: Shape) -> Shape:
        """The result's sizes, rounded down."""
        padded = [n + sum(p) for n, p in zip(spatial, self.pads, strict=True)]
        return tuple(
            (n - r) // s + 1 for n, r, s in zip(padded, self.reach, self.strides, strict=True)
        )

    def same(self, spatial: Shape) -> Pads:
        """The padding that TensorFlow's SAME adds: the odd element goes behind.

        PyTorch pads both sides alike, so that with stride 2 an even size differs.
        """
        pads = []
        for n, reach, stride in zip(spatial, self.reach, self.strides, strict=True):
            total = max((-(-n // stride) - 1) * stride + reach - n, 0)
            pads.append((total // 2, total - total // 2))
        return tuple(pads)

    def is_same(self, spatial: Shape) -> bool:
        return self.pads == self.same(spatial)

    @property
    def is_valid(self) -> bool:
        return not any(before or after for before, after in self.pads)


def read_window(call: Call, attributes: object, kernel: Shape, spatial: Shape) -> Window:
    """The window that a node's attributes describe, `auto_pad` resolved.

    A pool in ceil mode gets the padding behind that its last, partial window needs.
    """
    rank = len(kernel)
    strides = tuple(getattr(attributes, "strides", None) or (1,) * rank)
    dilations = tuple(getattr(attributes, "dilations", None) or (1,) * rank)
    flat = tuple(getattr(attributes, "pads", None) or (0,) * 2 * rank)
    window = Window(kernel, strides, dilations, tuple(zip(flat[:rank], flat[rank:], strict=True)))
    auto = getattr(attributes, "auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads = window.same(spatial)
        if auto == "SAME_LOWER":
            pads = tuple((after, before) for before, after in pads)
        return Window(kernel, strides, dilations, pads)
    if auto == "VALID":
        return Window(kernel, strides, dilations, ((0, 0),) * rank)
    if auto != "NOTSET":
        raise call.refuse(f"auto_pad '{auto}' is not known")
    if min(flat) < 0:
        raise call.refuse("negative padding", do="slice the input instead")
    return window


NEUTRAL = {"kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 0}


def in_two_dimensions(call: Call, lower: Callable[[Call], Value]) -> Value:
    """The operation on (N, C, H, W); a 1-D one as an image of height 1."""
    rank = call.value().rank
    if rank == 4:
        return lower(call)
    if rank != 3:
        raise call.refuse(
            f"{rank - 2} spatial dimensions", do="use the 2-D layer on each slice of the input"
        )
    # TensorFlow has no windows of one dimension either: its conv1d is a reshape and a conv2d.
    attributes = dict(call.node.attributes)
    for name, neutral in NEUTRAL.items():
        if name in attributes:
            attributes[name] = [neutral, *attributes[name]]
    if "pads" in attributes:
        # ONNX lists what is added before on all axes, then what is added behind.
        before, after = attributes["pads"]
        attributes["pads"] = [0, before, 0, after]
    flat = replace(
        call,
        node=replace(call.node, attributes=attributes),
        # Maps (N, C, L) and kernels (O, I, K) alike; a bias has no such axis.
        inputs=tuple(v if v is None or v.rank != 3 else _as_image(v) for v in call.inputs),
        results=tuple((*s[:2], 1, *s[2:]) for s in call.results),
    )
    return reshaped(lower(flat), call.shape)


def _as_image(value: Value) -> Value:
    return reshaped(value, (*value.shape[:2], 1, *value.shape[2:]))
