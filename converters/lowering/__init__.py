"""ONNX to a frozen TensorFlow graph in NHWC, for TFLite and for TF.js.

This is the front door. Behind it `read_graph` reads the file, `rewritten` applies the target's
rewrites, `lower` emits one or more TensorFlow operations for each of ONNX's, from a closed
table; what is not in it, or not exactly expressible, is refused by name, and goes through
onnx2tf. Those modules load TensorFlow, so that only a conversion's own process imports them;
this one is light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from model_defs.errors import ConversionFailed, UnsupportedOperation

if TYPE_CHECKING:
    from converters.api import Export
    from converters.lowering.call import Target
    from converters.lowering.lower import Lowered

Via = Literal["lowering", "onnx2tf"]
"""Our own lowering of ONNX, or onnx2tf's, which then is an oracle for ours."""
DEFAULT_VIA: Via = "lowering"


def preload() -> None:
    """Import what `lower_export` needs, while there is nothing to lower yet."""
    import converters.lowering.graph
    import converters.lowering.lower
    import converters.lowering.rewrites  # noqa: F401


def lower_export(export: Export, target: Target, via: Via) -> tuple[Lowered, tuple[str, ...]]:
    """The TensorFlow graph of an export, and what the manifest should say of how it came.

    What our lowering refuses goes through onnx2tf; if that fails as well, our own reason is
    the error, with what onnx2tf said.
    """
    from converters.lowering import onnx2tf

    if via == "onnx2tf":
        return onnx2tf.convert(export), (onnx2tf.note("as asked"),)
    try:
        return lower_without_fallback(export, target), ()
    except UnsupportedOperation as reason:
        try:
            return onnx2tf.convert(export), (onnx2tf.note(reason.what),)
        except ConversionFailed as error:
            what = f"{reason.what}; and {error.what}"
            raise UnsupportedOperation(what, where=reason.where, do=reason.do) from error


def lower_without_fallback(export: Export, target: Target) -> Lowered:
    """What our own lowering makes of an export; UnsupportedOperation for what it does not know."""
    from converters.lowering.graph import read_graph
    from converters.lowering.lower import lower
    from converters.lowering.rewrites import rewritten

    as_stored = bool(export.mixed or (export.grids and target == "tflite"))  # TF.js sums later
    graph = rewritten(read_graph(export.onnx), target, as_stored=as_stored)
    return lower(graph, export.inputs, export.outputs, target)
