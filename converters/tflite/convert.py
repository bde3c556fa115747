"""ONNX -> NHWC TensorFlow graph -> TFLite's converter -> our own storing of weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters import encodings, lowering
from converters.api import Artifact, Export
from model_defs.errors import CannotWrite, ConversionFailed

if TYPE_CHECKING:
    from converters.lowering.lower import Lowered

FILE = "model.tflite"


def preload() -> None:
    """Import what `convert` needs, while there is nothing to convert yet."""
    import converters.tflite.store  # noqa: F401

    lowering.preload()
    _binding()


def _binding() -> Any:
    """The converter's own binding, which needs TensorFlow's library loaded before."""
    import tensorflow.python.pywrap_tensorflow  # noqa: F401
    from tensorflow.compiler.mlir.lite.python import _pywrap_converter_api

    return _pywrap_converter_api


def convert(export: Export, directory: Path, via: lowering.Via = lowering.DEFAULT_VIA) -> Artifact:
    """Writes `model.tflite`, named as in the spec and stored NHWC.

    Weights on one of the export's grids are stored as codes, others at its precision; LiteRT
    computes in float32. What our lowering
    does not know goes through onnx2tf, which `via` can also ask for; the artifact's notes say
    so. Raises UnsupportedOperation, ConversionFailed or CannotWrite.
    """
    lowered, notes = lowering.lower_export(export, "tflite", via)
    from converters.tflite.store import stored
    from converters.tflite.weights import constants

    how = (export.precision, export.grids, export.mixed)
    plain = to_flatbuffer(lowered)
    if export.grids:
        notes += encodings.left(constants(plain), export.grids, export.precision)
    data = stored(plain, lowered, *how)
    path = directory / FILE
    try:
        path.write_bytes(data)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror}") from error
    return Artifact(path, "tflite", export.precision, lowered.inputs, lowered.outputs, notes)


def to_flatbuffer(lowered: Lowered) -> bytes:
    """The graph in TFLite's own operations: no Flex, and no custom operation but GELU's carrier.

    Calls the converter's binding itself: its Python wrappers load `tf.data` and go through a
    SavedModel on disk, which together take four times as long.
    """
    binding = _binding()
    from tensorflow.compiler.mlir.lite import converter_flags_pb2, model_flags_pb2, types_pb2
    from tensorflow.compiler.mlir.quantization.tensorflow.python import pywrap_function_lib

    model = model_flags_pb2.ModelFlags(output_arrays=[port.name for port in lowered.outputs])
    for port in lowered.inputs:
        array = model.input_arrays.add(name=port.name)
        array.shape.dims.extend(port.shape)
        array.data_type = types_pb2.IODataType.Value(TYPES[port.dtype])
    flags = converter_flags_pb2.ConverterFlags(
        input_format=converter_flags_pb2.TENSORFLOW_GRAPHDEF,
        output_format=converter_flags_pb2.TFLITE,
        inference_type=types_pb2.FLOAT,
        inference_input_type=types_pb2.FLOAT,
        canonicalizing_inf_as_min_max_float=True,
        allow_custom_ops=True,  # for `store`, which refuses any but the one that it resolves
    )
    texts = [m.SerializeToString() for m in (model, flags, lowered.graph)]
    try:
        data = binding.Convert(*texts, False, "", pywrap_function_lib.PyFunctionLibrary())
    except Exception as error:  # the binding raises this very type
        if type(error) is not Exception:
            raise
        lines = [line.strip() for line in str(error).splitlines() if "error:" in line]
        said = lines[0] if lines else str(error)
        raise ConversionFailed(f"TFLite's converter refuses the graph: {said}") from error
    return data


TYPES = {"float32": "FLOAT", "int32": "INT32", "bool": "BOOL"}
"""What the converter calls the types of ports."""
