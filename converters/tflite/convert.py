"""ONNX -> NHWC TensorFlow graph -> TFLite's converter -> our own storing of weights."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from converters import fallback
from converters.api import Artifact, Export
from model_defs.errors import CannotWrite, ConversionFailed

if TYPE_CHECKING:
    from converters.lowering.lower import Lowered

FILE = "model.tflite"
SIGNATURE = "serving_default"


def convert(export: Export, directory: Path, via: fallback.Via = "lowering") -> Artifact:
    """Writes `model.tflite`, named as in the spec and stored NHWC.

    Precision "float16" stores weights as float16; LiteRT computes in float32. What our lowering
    does not know goes through onnx2tf, which `via` can also ask for; the artifact's notes say
    so. Raises UnsupportedOperation, ConversionFailed or CannotWrite.
    """
    lowered, notes = fallback.lowered(export, "tflite", via)
    from converters.tflite.store import stored

    data = stored(to_flatbuffer(lowered), export.precision)
    path = directory / FILE
    try:
        path.write_bytes(data)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror}") from error
    return Artifact(path, "tflite", export.precision, lowered.inputs, lowered.outputs, notes)


def to_flatbuffer(lowered: Lowered) -> bytes:
    """The graph in TFLite's own operations and nothing else: no Flex, no custom operations."""
    from tensorflow.lite.python import convert as lite
    from tensorflow.lite.python.convert_phase import ConverterError

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "saved_model.pb").write_bytes(saved_model(lowered))
        try:
            return lite.convert_saved_model(
                saved_model_dir=folder,
                saved_model_version=1,
                saved_model_tags={"serve"},
                saved_model_exported_names=[SIGNATURE],
            )
        except ConverterError as error:
            raise ConversionFailed(f"TFLite's converter refuses the graph: {error}") from error


def saved_model(lowered: Lowered) -> bytes:
    """The graph and its signature as a SavedModel without variables."""
    from tensorflow.core.framework.types_pb2 import DataType
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel(saved_model_schema_version=1)
    meta = model.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    meta.graph_def.CopyFrom(lowered.graph)
    signature = meta.signature_def[SIGNATURE]
    signature.method_name = "tensorflow/serving/predict"
    for ports, infos in ((lowered.inputs, signature.inputs), (lowered.outputs, signature.outputs)):
        for port in ports:
            info = infos[port.name]
            info.name = f"{port.name}:0"
            info.dtype = DataType.Value(f"DT_{TYPES[port.dtype]}")
            for size in port.shape:
                info.tensor_shape.dim.add(size=size)
    return model.SerializeToString(deterministic=True)


TYPES = {"float32": "FLOAT", "int32": "INT32", "bool": "BOOL"}
"""What TensorFlow's DataType calls the types of ports."""
