"""The types that every converter and runner shares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from converters.encodings import Encoding
from model_defs.errors import BadArtifact, MlshipError, UnknownName
from model_defs.spec import ModelSpec, TensorSpec

if TYPE_CHECKING:
    from torch import nn

    from converters.graph.captured import CapturedGraph

Tensors = Mapping[str, np.ndarray]
Layers = Mapping[str, Mapping[str, Any]]
"""The fields of a GraphLayer, by the names of values."""


@dataclass(frozen=True)
class Program:
    """A captured model, which passes transform and converters take.

    `module` is in eval mode, float32 and contiguous. `encodings` says how the numbers of a
    parameter are to be stored; the module already holds numbers that this encoding stores
    exactly. Parameters that are not named are stored as float32. `notes` is what was repaired
    on the way, `kept` which layers a pass left as they were, and why.
    """

    spec: ModelSpec
    module: nn.Module
    encodings: Mapping[str, Encoding] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def precision(self) -> str:
        """The float type of what lies on no grid: "float16" once anything is to be stored in it."""
        half = any(encoding.dtype == "float16" for encoding in self.encodings.values())
        return "float16" if half else "float32"

    @property
    def grids(self) -> tuple[Encoding, ...]:
        """The encodings whose codes are stored, each once."""
        return tuple(dict.fromkeys(e for e in self.encodings.values() if e.is_grid))

    @property
    def mixed(self) -> bool:
        """Whether some of its numbers are to stay float32 beside float16."""
        return any(encoding.dtype == "float32" for encoding in self.encodings.values())


@dataclass(frozen=True)
class Export:
    """A program on disk, which a converter loads in its own process.

    `directory` holds `traced.pt` (TorchScript) and `model.onnx` (inputs and outputs named as in
    the spec), each only where a target needs it, and `layers.json`, which says of every value
    where it comes from. `precision` and
    `grids` are the program's, `mixed` says that some of it stays float32 whatever its precision,
    `several` that one file is to hold it at several sizes, of which this is one.
    `digest` is the SHA-256 of graph, weights and constants. `refused` says, by source, of which
    file there is none, and why, `graph` is what was exported; they are for whoever exports, and
    do not travel.
    """

    directory: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    precision: str
    digest: str = ""
    grids: tuple[Encoding, ...] = ()
    mixed: bool = False
    several: bool = False
    refused: Mapping[str, MlshipError] = field(default_factory=dict)
    graph: CapturedGraph | None = field(default=None, repr=False, compare=False)

    @property
    def torchscript(self) -> Path:
        return self.directory / "traced.pt"

    @property
    def onnx(self) -> Path:
        return self.directory / "model.onnx"

    @property
    def layers(self) -> Path:
        return self.directory / "layers.json"

    def layers_by_value(self) -> Layers:
        """Where each value comes from, also after travelling; nothing of an older export."""
        if not self.layers.is_file():
            return {}
        found: Layers = json.loads(self.layers.read_text(encoding="utf-8"))
        return found

    def to_json(self) -> dict[str, Any]:
        bare = replace(self, refused={}, graph=None)
        data = dict(asdict(bare), directory=str(self.directory))
        del data["refused"], data["graph"]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Export:
        return cls(
            Path(data["directory"]),
            tuple(map(TensorSpec.from_json, data["inputs"])),
            tuple(map(TensorSpec.from_json, data["outputs"])),
            data["precision"],
            data["digest"],
            tuple(map(Encoding.from_json, data["grids"])),
            data["mixed"],
            data["several"],
        )


@dataclass(frozen=True)
class Port:
    """Where a tensor of the spec lives in an artifact: the only place of layouts and renames.

    `axes` takes the logical tensor to the stored one: `stored = logical.transpose(axes)`.
    `shape` is the stored shape and `dtype` the stored type, as numpy names it.
    """

    name: str
    stored_as: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    dtype: str = "float32"

    @classmethod
    def of(
        cls, spec: TensorSpec, *, channels_last: bool, stored_as: str = "", dtype: str = "float32"
    ) -> Port:
        """The port of a spec's tensor, 4-D ones stored (N, H, W, C) where asked."""
        rank = len(spec.shape)
        axes = (0, 2, 3, 1) if channels_last and rank == 4 else tuple(range(rank))
        shape = tuple(spec.shape[a] for a in axes)
        return cls(spec.name, stored_as or spec.name, shape, axes, dtype)

    @property
    def logical_shape(self) -> tuple[int, ...]:
        return tuple(self.shape[self.axes.index(a)] for a in range(len(self.axes)))

    def to_stored(self, logical: np.ndarray) -> np.ndarray:
        """A logical tensor in the artifact's layout and type.

        BadArtifact for another shape, and for numbers that an integer type does not hold.
        """
        if logical.shape != self.logical_shape:
            raise BadArtifact(
                f"input '{self.name}' has shape {logical.shape}, not {self.logical_shape}"
            )
        if np.dtype(self.dtype).kind in "iub" and (logical.astype(self.dtype) != logical).any():
            raise BadArtifact(f"input '{self.name}' has numbers that {self.dtype} does not hold")
        return np.ascontiguousarray(logical.transpose(self.axes), dtype=self.dtype)

    def to_logical(self, stored: np.ndarray) -> np.ndarray:
        """The inverse of `to_stored`; BadArtifact if the shape is not the stored one.

        Floats come as float32, integers and booleans as they are stored.

        Element counts are not enough: (1, C, H, W) for (1, H, W, C) is refused.
        """
        if stored.shape != self.shape:
            raise BadArtifact(
                f"output '{self.name}' came out as {stored.shape}, not {self.shape}",
                do="the file does not keep the layout that its manifest declares",
            )
        inverse = tuple(int(i) for i in np.argsort(self.axes))
        kind = stored.dtype if np.dtype(self.dtype).kind in "iub" else np.float32
        return np.ascontiguousarray(stored.transpose(inverse), dtype=kind)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Port:
        return cls(**dict(data, shape=tuple(data["shape"]), axes=tuple(data["axes"])))


@dataclass(frozen=True)
class Entry:
    """A further size of a model in the same file: its name, "512x512", and where it lives.

    `stored_as` is what the format calls it: a function of a Core ML program, a signature of a
    .tflite file, a graph of a TF.js folder.
    """

    name: str
    stored_as: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Entry:
        return cls(data["name"], data["stored_as"], *_ports(data))


@dataclass(frozen=True)
class Artifact:
    """A model file (or folder) in a format, and where the spec's tensors live in it.

    `notes` records what a reader of the manifest should know, e.g. a fallback and its reason.
    `entries` are the further sizes that the file holds. `entry` says, as it is stored, which one
    the ports are of: "" is the default, which an app gets that asks for none.
    """

    path: Path
    format: str
    precision: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    notes: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    entry: str = ""

    def at(self, name: str) -> Artifact:
        """The same file, run at a further size; UnknownName for one that it does not hold."""
        for entry in self.entries:
            if entry.name == name:
                return replace(
                    self, inputs=entry.inputs, outputs=entry.outputs, entry=entry.stored_as
                )
        raise UnknownName.among("size", name, [entry.name for entry in self.entries])

    def to_json(self) -> dict[str, Any]:
        return dict(asdict(self), path=self.path.name)

    @classmethod
    def from_json(cls, data: dict[str, Any], directory: Path) -> Artifact:
        return cls(
            directory / data["path"],
            data["format"],
            data["precision"],
            *_ports(data),
            tuple(data["notes"]),
            tuple(map(Entry.from_json, data["entries"])),
            data["entry"],
        )


def _ports(data: dict[str, Any]) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The inputs and the outputs."""
    inputs, outputs = (tuple(map(Port.from_json, data[side])) for side in ("inputs", "outputs"))
    return inputs, outputs


class Runner(Protocol):
    """Runs an artifact: logical arrays in and out, by the spec's names.

    Raises BadArtifact where the file does not hold what the ports say, BackendUnavailable
    where the runtime is missing. A runner is loaded once and run many times; `close` frees it.
    """

    backend: str

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]: ...

    def close(self) -> None: ...


@runtime_checkable
class RoundsNumbers(Protocol):
    """A runner of a file that holds some numbers of the program's code in float16."""

    def moved(self, inputs: Tensors) -> Mapping[str, np.ndarray]:
        """How far each number of the outputs is moved where those are rounded otherwise."""
        ...
