"""What is fuzzed: each reader of a file from outside, given bytes by a folder to put them in.

A reader may refuse what it is given with an MlshipError that says where and what to do, and nothing
else. Files of several parts
are these parts with SPLIT between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from model_defs.errors import MlshipError

SPLIT = b"\n--8<--\n"
CORPORA = Path(__file__).parent / "corpora"


@dataclass(frozen=True)
class FuzzTarget:
    """A reader; `watched` are the modules whose branches guide the fuzzer."""

    name: str
    read: Callable[[Path, bytes], None]
    watched: tuple[str, ...]
    most_bytes: int = 1 << 14

    def __call__(self, folder: Path, data: bytes) -> bool:
        """Whether the reader takes these bytes; it raises what is no MlshipError."""
        refused = None
        try:
            self.read(folder, data)
        except MlshipError as error:
            refused = error
        assert refused is None or refused.where, f"says no place: {refused}"
        assert refused is None or refused.do, f"says no way out: {refused}"
        return refused is None

    @property
    def seeds(self) -> list[Path]:
        return sorted((CORPORA / self.name).iterdir())


def _parts(data: bytes, count: int) -> list[bytes]:
    found = data.split(SPLIT, count - 1)
    return found + [b""] * (count - len(found))


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _artifact(path: Path, kind: str) -> None:
    """All that is read of a model's file without running it: its contents, and its numbers."""
    from converters.api import Artifact
    from converters.contents import contents
    from converters.numbers import stored_constants

    artifact = Artifact(path, kind, "float16", (), ())
    refused = None
    for read in (contents, stored_constants):
        try:
            for _ in read(artifact):
                pass
        except MlshipError as error:
            refused = error
    if refused is not None:
        raise refused


def read_manifest(folder: Path, data: bytes) -> None:
    from toolchain.bundle import bundle

    _write(folder / "manifest.json", data)
    bundle.read_manifest(folder)


def read_sealed_manifest(folder: Path, data: bytes) -> None:
    """One whose digest is right, whatever it says: the checks behind it are reached."""
    import json

    from toolchain.bundle import manifest

    try:
        said = json.loads(data)
        text = json.dumps({**said, "digest": manifest.digest_of(said)})
    except (ValueError, TypeError, RecursionError):
        text = data.decode("utf-8", "replace")
    manifest.parse(text, "manifest.json")


def read_package(folder: Path, data: bytes) -> None:
    about, model, weights = _parts(data, 3)
    home = folder / "x.mlpackage"
    _write(home / "Manifest.json", about)
    inside = home / "Data" / "com.apple.CoreML"
    _write(inside / "model.mlmodel", model)
    _write(inside / "weights" / "weight.bin", weights)
    _artifact(home, "coreml")


def read_flatbuffer(folder: Path, data: bytes) -> None:
    _artifact(_write(folder / "x.tflite", data), "tflite")


def read_graph_model(folder: Path, data: bytes) -> None:
    graph, shard = _parts(data, 2)
    home = folder / "x.tfjs"
    _write(home / "model.json", graph)
    _write(home / "group1-shard1of1.bin", shard)
    _artifact(home, "tfjs")


def read_tensors(folder: Path, data: bytes) -> None:
    """Both doors: of weights, and of what a model is given."""
    from converters.weights import read_weights
    from model_defs.spec import TensorSpec
    from toolchain.applications.inputs import _read_tensor

    path = _write(folder / "x.safetensors", data)
    refused = None
    for read in (read_weights, lambda p: _read_tensor(p, TensorSpec("a", (2, 3), "state"))):
        try:
            read(path)
        except MlshipError as error:
            refused = error
    if refused is not None:
        raise refused


def read_array(folder: Path, data: bytes) -> None:
    from model_defs.spec import TensorSpec
    from toolchain.applications.inputs import _read_tensor

    _read_tensor(_write(folder / "x.npy", data), TensorSpec("a", (2, 3), "state"))


def read_picture(folder: Path, data: bytes) -> None:
    """Of at most a megapixel: a larger picture takes as long as it has pixels, and may."""
    from model_defs import pixels

    path = _write(folder / "x.png", data)
    with mock.patch.object(pixels, "MOST_PIXELS", 1_000_000):
        pixels.open_picture(path)
        pixels.open_cutout(path)


TARGETS = {
    one.name: one
    for one in (
        FuzzTarget("manifest", read_manifest, ("toolchain.bundle", "model_defs", "json")),
        FuzzTarget(
            "sealed-manifest",
            read_sealed_manifest,
            ("toolchain.bundle", "model_defs", "converters.api"),
        ),
        FuzzTarget("package", read_package, ("converters.mil", "converters.coreml", "json")),
        FuzzTarget(
            "flatbuffer", read_flatbuffer, ("converters.tflite", "ai_edge_litert", "flatbuffers")
        ),
        FuzzTarget(
            "graph-model", read_graph_model, ("converters.tfjs", "converters.contents", "json")
        ),
        FuzzTarget(
            "tensors",
            read_tensors,
            ("converters.weights", "toolchain.bundle.tensor_files", "safetensors"),
        ),
        FuzzTarget("array", read_array, ("toolchain.bundle.tensor_files", "numpy.lib.format")),
        FuzzTarget("picture", read_picture, ("model_defs.pixels", "PIL")),
    )
}
