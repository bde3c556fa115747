"""An ONNX file, read as data that nobody vouches for: sizes, structure, and where it points to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from model_defs.errors import BadArtifact, MlshipError
from model_defs.files import check_file

LARGEST_FILE = 2**31 - 1
"""Bytes: more than that no protobuf has."""
LARGEST_DATA = 2**33
"""Bytes of all weights that lie beside the file."""
HALVES: dict[int, str] = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16"}
FLOATS: dict[int, str] = {**HALVES, TensorProto.DOUBLE: "float64"}
"""Types that are taken as float32."""
SAYS_TYPE = {"to", "dtype", "output_datatype", "stash_type"}
"""Attributes that name a type."""
AGAIN = "export it again, and copy it whole: the .onnx file with its data files beside it"


def load(path: Path) -> tuple[onnx.ModelProto, list[str]]:
    """The model of a file, with its weights inside and its floats in float32; what was changed.

    Raises BadArtifact for what is no sound ONNX file.
    """
    model = _parsed(path)
    _take_in_data(model, path)
    try:
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        if model.ByteSize() <= LARGEST_FILE:
            onnx.checker.check_model(model)
        return model, in_float32(model)
    except MlshipError:
        raise
    except (onnx.checker.ValidationError, ValueError, TypeError, RuntimeError, OSError) as error:
        raise bad(path, error) from error


def bad(path: Path, error: Exception) -> BadArtifact:
    """The error for a file that ONNX's own library refuses."""
    why = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return BadArtifact(f"not a sound ONNX file: {why.strip()[:300]}", where=str(path), do=AGAIN)


def _parsed(path: Path) -> onnx.ModelProto:
    size = check_file(path, "file", BadArtifact).st_size
    if not 0 < size <= LARGEST_FILE:
        raise BadArtifact(
            f"an ONNX file of {size} bytes", where=str(path), do="it has 1 byte to 2 GB: " + AGAIN
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, OSError) as error:
        raise BadArtifact(
            "not an ONNX file, or not all of it: it cannot be decoded", where=str(path), do=AGAIN
        ) from error
    if not model.graph.node and not model.graph.output:
        raise BadArtifact("no ONNX graph is in the file", where=str(path), do=AGAIN)
    return model


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and those inside its nodes, at any depth."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                if inner.node or inner.output:
                    yield from graphs(inner)


def _tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor of a model: initializers, and what attributes hold."""
    for graph in graphs(model.graph):
        yield from graph.initializer
        for node in graph.node:
            yield from _held(node)
    for function in model.functions:
        for node in function.node:
            yield from _held(node)


def _held(node: onnx.NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors


def _take_in_data(model: onnx.ModelProto, path: Path) -> None:
    """Read the weights that lie in other files; BadArtifact for one outside the file's folder."""
    left = LARGEST_DATA
    for tensor in _tensors(model):
        if not uses_external_data(tensor):
            continue
        data = _outside(tensor, path, left)
        left -= len(data)
        tensor.raw_data = data
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT


def _outside(tensor: TensorProto, path: Path, left: int) -> bytes:
    def refuse(why: str) -> BadArtifact:
        return BadArtifact(f"the data of '{tensor.name}' {why}", where=str(path), do=AGAIN)

    try:
        info = ExternalDataInfo(tensor)
        offset = int(info.offset or 0)
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (ValueError, TypeError, KeyError) as error:
        raise refuse(f"cannot be found: {error}") from error
    folder = path.parent.resolve()
    file = folder / info.location
    if not info.location or not file.resolve().is_relative_to(folder):
        raise refuse(f"lies outside the file's folder: {info.location}")
    if not file.is_file():
        raise refuse(f"is missing: {info.location}")
    wanted = int(np.prod([int(n) for n in tensor.dims], dtype=object)) * kind.itemsize
    if wanted < 0 or offset < 0 or offset + wanted > file.stat().st_size:
        raise refuse(f"is cut off: {info.location} ends before it")
    if wanted > left:
        raise refuse(f"makes more than {LARGEST_DATA // 2**30} GB of weights")
    with file.open("rb") as stream:
        stream.seek(offset)
        return stream.read(wanted)


def in_float32(model: onnx.ModelProto) -> list[str]:
    """Turn float16, bfloat16 and float64 into float32, in place; says which there were."""
    found: dict[str, None] = {}
    for tensor in _tensors(model):
        if tensor.data_type in FLOATS:
            found[FLOATS[tensor.data_type]] = None
            _cast(tensor)
    for graph in graphs(model.graph):
        for value in [*graph.input, *graph.output, *graph.value_info]:
            kind = value.type.tensor_type
            if kind.elem_type in FLOATS:
                found[FLOATS[kind.elem_type]] = None
                kind.elem_type = TensorProto.FLOAT
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.name in SAYS_TYPE and attribute.i in FLOATS:
                    attribute.i = TensorProto.FLOAT
    return [f"{name} of the file is taken as float32" for name in found]


def _cast(tensor: TensorProto) -> None:
    limit = np.finfo(np.float32)
    array = numpy_helper.to_array(tensor).astype(np.float64)
    finite = np.isfinite(array)
    array[finite] = np.clip(array[finite], limit.min, limit.max)  # a mask's -1e308
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(array, np.float32), name))
