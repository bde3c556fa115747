"""What fuzzing of the readers found: each is a BadArtifact or a BadPicture, at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from converters.api import Artifact
from converters.contents import contents
from converters.malformed import Room
from converters.mil.package import model_files
from converters.numbers import stored_constants
from model_defs import pixels
from model_defs.errors import BadArtifact, BadPicture
from model_defs.spec import TensorSpec
from toolchain.applications.inputs import _read_tensor

Change = Callable[[dict[str, Any]], object]


def both(path: Path, kind: str) -> tuple[int, int]:
    """How many items its contents are, and how many arrays its numbers."""
    artifact = Artifact(path, kind, "float32", (), ())
    return len(contents(artifact)), len([*stored_constants(artifact)])


def graph_model(folder: Path, change: Change = lambda weights: None) -> Path:
    """A folder of a graph with one weight of (2, 3), of 24 bytes in one shard."""
    weights = {
        "paths": ["a.bin"],
        "weights": [{"name": "a", "shape": [2, 3], "dtype": "float32"}],
    }
    change(weights)
    (folder / "model.json").write_text(json.dumps({"weightsManifest": [weights]}))
    (folder / "a.bin").write_bytes(np.arange(6, dtype=np.float32).tobytes())
    return folder


def test_a_sound_graph_model(tmp_path: Path) -> None:
    assert both(graph_model(tmp_path), "tfjs") == (2, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.update(paths=["../a.bin"]),
        lambda w: w.update(paths=["/dev/zero"]),
        lambda w: w.update(paths=["a\0.bin"]),
        lambda w: w.update(paths=["none.bin"]),
        lambda w: w.update(paths=[7]),
        lambda w: w.update(paths=["a.bin"] * 100),
        lambda w: w["weights"][0].update(shape=[2, 4]),
        lambda w: w["weights"][0].update(shape=[-2, -3]),
        lambda w: w["weights"][0].update(shape=[2**40, 2**40]),
        lambda w: w["weights"][0].update(dtype="V1000000000"),
        lambda w: w["weights"][0].pop("dtype"),
    ],
)
def test_weights_that_are_not_there(tmp_path: Path, change: Change) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "a.bin").write_bytes(bytes(24))
    path = graph_model(tmp_path / "x", change)
    artifact = Artifact(path, "tfjs", "float32", (), ())
    for read in (contents, stored_constants):
        with pytest.raises(BadArtifact):
            [*read(artifact)]


def flatbuffer(operators: int, readers: int, name: str = "a", scales: int = 0) -> bytes:
    """A file with one constant of (6,), read `readers` times by each of the operators.

    They share what they read: the file is hardly larger than one of them.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    b = flatbuffers.Builder()
    data = b.CreateNumpyVector(np.arange(6, dtype=np.uint8))
    schema.BufferStart(b)
    schema.BufferAddData(b, data)
    buffer = schema.BufferEnd(b)
    quantization = None
    if scales:
        of = b.CreateNumpyVector(np.ones(scales, np.float32))
        schema.QuantizationParametersStart(b)
        schema.QuantizationParametersAddScale(b, of)
        quantization = schema.QuantizationParametersEnd(b)
    shape, called = b.CreateNumpyVector(np.array([6], np.int32)), b.CreateString(name)
    schema.TensorStart(b)
    schema.TensorAddShape(b, shape)
    schema.TensorAddType(b, schema.TensorType.INT8)
    schema.TensorAddName(b, called)
    if quantization is not None:
        schema.TensorAddQuantization(b, quantization)
    tensor = schema.TensorEnd(b)
    reads, writes = b.CreateNumpyVector(np.zeros(readers, np.int32)), vector(b, [0], int32=True)
    schema.OperatorStart(b)
    schema.OperatorAddInputs(b, reads)
    schema.OperatorAddOutputs(b, writes)
    operator = schema.OperatorEnd(b)
    tensors, every = vector(b, [tensor]), vector(b, [operator] * operators)
    schema.SubGraphStart(b)
    schema.SubGraphAddTensors(b, tensors)
    schema.SubGraphAddOperators(b, every)
    graph = schema.SubGraphEnd(b)
    graphs, buffers = vector(b, [graph]), vector(b, [buffer])
    schema.ModelStart(b)
    schema.ModelAddSubgraphs(b, graphs)
    schema.ModelAddBuffers(b, buffers)
    b.Finish(schema.ModelEnd(b), b"TFL3")
    return bytes(b.Output())


def vector(builder: Any, values: list[int], *, int32: bool = False) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        (builder.PrependInt32 if int32 else builder.PrependUOffsetTRelative)(value)
    return int(builder.EndVector())


@pytest.mark.parametrize(("operators", "readers"), [(1, 0), (1, 1), (20, 3)])
def test_a_sound_flatbuffer(tmp_path: Path, operators: int, readers: int) -> None:
    """Operators without an input, too."""
    path = tmp_path / "x.tflite"
    path.write_bytes(flatbuffer(operators, readers, scales=6))
    assert both(path, "tflite") == (2, 1)


@pytest.mark.parametrize(
    ("operators", "readers", "name", "scales"),
    [(20_000, 20_000, "a", 0), (20_000, 1, "a" * 80_000, 0), (1, 1, "a", 5), (1, 1, "a", 9)],
)
def test_a_flatbuffer_that_declares_more_than_it_holds(
    tmp_path: Path, operators: int, readers: int, name: str, scales: int
) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(flatbuffer(operators, readers, name, scales))
    start = time.process_time()
    with pytest.raises(BadArtifact, match=r"declares more|scales"):
        both(path, "tflite")
    assert time.process_time() - start < 20  # reading all that is declared takes minutes


@pytest.mark.parametrize("root", ["\0", "\ud800", "a\n", "/x", "../x", 7, None])
def test_a_package_whose_model_is_nowhere(tmp_path: Path, root: object) -> None:
    said = {"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": root}}}
    (tmp_path / "Manifest.json").write_text(json.dumps(said))
    with pytest.raises(BadArtifact):
        model_files(tmp_path)


def test_a_package_s_manifest_of_many_brackets(tmp_path: Path) -> None:
    (tmp_path / "Manifest.json").write_text('{"a":' * 100_000)
    with pytest.raises(BadArtifact):
        model_files(tmp_path)


def test_room_is_counted() -> None:
    room = Room(10)
    room.take(4)
    room.take(6)
    for count in (1, -1):
        with pytest.raises(BadArtifact):
            Room(0).take(count)


def test_an_array_whose_header_is_no_python(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((2, 3), np.float32))
    path.write_bytes(path.read_bytes().replace(b"}", b" "))
    with pytest.raises(BadPicture, match="cannot be read"):
        _read_tensor(path, TensorSpec("a", (2, 3), "state"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_picture_of_numbers_that_are_none(tmp_path: Path, value: float) -> None:
    Image.fromarray(np.array([[value, np.inf, 3.0]], np.float32)).save(tmp_path / "x.tiff")
    with pytest.raises(BadPicture, match="not finite"):
        pixels.open_picture(tmp_path / "x.tiff")


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("top", [200, 65535])
def test_deep_pictures_are_scaled_part_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type, top: int
) -> None:
    """The same as at once; a large value in the last row scales the first."""
    monkeypatch.setattr(pixels, "ROWS_OF", 50)
    values = np.linspace(0, top, 7 * 20).reshape(7, 20).astype(kind)
    Image.fromarray(values).save(tmp_path / "x.tiff")
    want = (values / 257.0 if top > 255 else values).astype(np.uint8)
    np.testing.assert_array_equal(pixels.open_picture(tmp_path / "x.tiff")[..., 0], want)
