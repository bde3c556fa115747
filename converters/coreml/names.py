"""What coremltools calls the values of a PyTorch graph."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converters.graph.captured import GraphLayer
    from converters.intermediates.traced import Traced

SUFFIXES = re.compile(r"(_has_output_shape)?(_cast_fp16)?$")
"""What coremltools adds to the name of a value."""


def plain_name(name: str) -> str:
    """A value's name in a Core ML program without what conversion adds to it."""
    return SUFFIXES.sub("", name)


def core_ml_layers(traced: Traced) -> dict[str, GraphLayer]:
    """PyTorch's layers by the plain names that their values have in a Core ML program."""
    return {core_ml_name(layer.value): layer for layer in traced.layers}


def core_ml_name(value: str) -> str:
    """The name that coremltools makes of a value's."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", value)
    return f"var_{name}" if name[0].isdigit() else name


def captured_name(value: Any) -> str:
    """A TorchScript value's name without what PyTorch adds when it reads a file: `conv2d.1`."""
    return re.sub(r"\.\d+$", "", value.debugName())


def restore_names(graph: Any) -> None:
    """Gives values the names that they had before they were written to a file."""
    for node in graph.nodes():
        for value in node.outputs() if node.kind().startswith("aten::") else ():
            name = captured_name(value)
            if name != value.debugName():  # those without a name have a number, which none can be
                value.setDebugName(name)
