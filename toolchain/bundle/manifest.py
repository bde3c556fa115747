"""manifest.json: what a bundle says of itself. One reader, `parse`, and one writer, `text_of`.

Importing it loads pydantic, so whoever only names its types does so under TYPE_CHECKING. A field
that comes, goes or changes is a new schema: raise SCHEMA, say in upgrades.py what older ones had,
run `python -m toolchain.ci.schemas`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from converters import formats
from converters.api import Artifact, Entry, Port
from converters.sizes import sized
from model_defs.errors import BadBundle, UnknownName
from model_defs.spec import NAME, TensorSpec, check_state, size_names
from toolchain.bundle import upgrades
from toolchain.bundle.compute import Compute
from toolchain.bundle.files import MANIFEST, check_inside
from toolchain.bundle.parity_report import ConstantsReport, ParityReport, ParityRow, Question
from toolchain.bundle.pass_record import PassRecord
from toolchain.bundle.reading import (
    DataFile,
    StrictModel,
    first_missing,
    json_object,
    path_of,
    upgraded,
    validated,
    version_of,
)
from toolchain.bundle.weights import WeightsOrigin

SCHEMA = 5
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
InsidePath = Annotated[str, AfterValidator(check_inside)]


def _check_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name: lower-case words joined by - or _")
    return name


Name = Annotated[str, AfterValidator(_check_name)]
"""What becomes part of a path: of a model, of a target."""


class ModelEntry(StrictModel):
    """The model that was built."""

    name: Name
    summary: str
    parameters: Count
    weights: WeightsOrigin


class RecipeEntry(StrictModel):
    """How it was built: the passes with their options, in order, and what each left.

    `layers` says what `weights-mixed` made of which layer, `keep` which layers stayed float32
    and why. `pruned`: with the model's weights that have fewer channels.
    """

    name: str
    passes: tuple[str, ...]
    layers: Mapping[str, str] = {}
    keep: Mapping[str, str] = {}
    pruned: bool = False
    pass_report: tuple[PassRecord, ...] = ()


class ProofEntry(StrictModel):
    """How the artifact was compared with PyTorch when it was built: `questions` were asked."""

    ok: bool
    required: tuple[str, ...]
    questions: tuple[Question, ...]
    constants: ConstantsReport | None
    rows: tuple[ParityRow, ...]

    @classmethod
    def of(cls, report: ParityReport) -> ProofEntry:
        return cls(ok=report.ok, **{f.name: getattr(report, f.name) for f in fields(report)})

    @property
    def report(self) -> ParityReport:
        return ParityReport(self.rows, self.required, self.questions, self.constants)

    @model_validator(mode="after")
    def _is_so(self) -> ProofEntry:
        if self.ok != self.report.ok:
            said = "passed" if self.ok else "failed"
            raise ValueError(f"it says that it {said}, and its rows say otherwise")
        return self


class FileEntry(StrictModel):
    """A file of the bundle, by its path."""

    sha256: Digest
    bytes: Count


class Contents(StrictModel):
    """All that is known of a bundle before its files are counted: what a build writes.

    The `path` of the artifact is its name in the bundle. `compute` is where Core ML may compute,
    which its loading code sets; bundles of other formats have none. `state` names the inputs that
    are memory, by the output of the last call that each is fed with, zeros at first. `golden_at`
    are golden vectors of further sizes, by the names of these; `golden_rounded` what the rounded
    program makes of some of `golden`, by their file's name, where it is another than the model.
    """

    version: Literal[5] = Field(default=5, alias="schema")
    model: ModelEntry
    target: Name
    recipe: RecipeEntry
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    state: Mapping[str, str] = {}
    artifact: Artifact
    notes: tuple[str, ...]
    parity: ProofEntry
    golden: tuple[InsidePath, ...]
    golden_at: Mapping[str, tuple[InsidePath, ...]] = {}
    golden_rounded: tuple[InsidePath, ...] = ()
    tools: Mapping[str, str]
    compute: Compute | None = Field(default=None, exclude_if=lambda value: value is None)

    @field_validator("artifact")
    @classmethod
    def _is_of_ours(cls, artifact: Artifact) -> Artifact:
        if len(Path(check_inside(str(artifact.path))).parts) != 1:
            raise ValueError(f"path '{artifact.path}' is not beside the manifest")
        if artifact.format not in formats.FORMATS:
            error = UnknownName.among("format", artifact.format, formats.FORMATS)
            raise ValueError(error.what, error.do)
        return artifact

    @model_validator(mode="after")
    def _fits_together(self) -> Contents:
        names = [tensor.name for tensor in (*self.inputs, *self.outputs)]
        if len(set(names)) < len(names):
            raise ValueError("a name stands for two tensors")
        check_state(self.state, self.inputs, self.outputs)
        _check_ports("inputs", self.inputs, self.artifact.inputs)
        _check_ports("outputs", self.outputs, self.artifact.outputs)
        _check_entries(self.inputs, self.outputs, self.artifact)
        if unknown := [n for n in self.golden_at if n not in size_names(self.inputs)[1:]]:
            raise ValueError(f"golden_at: {unknown[0]} is no further size")
        made = formats.find(self.artifact.format)
        if self.target != made.target:
            what = f"target is '{self.target}', and an artifact of {made.name} is for {made.target}"
            raise ValueError(what)
        if bool(made.compute_units) != (self.compute is not None):
            raise ValueError("compute belongs to bundles of Core ML, and to no others")
        return self


def _check_entries(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], artifact: Artifact
) -> None:
    """ValueError unless the file has an entry for each further size, of tensors of that size."""
    names, further = [entry.name for entry in artifact.entries], [*size_names(inputs)[1:]]
    if names != further:
        said, wanted = (", ".join(one) or "none" for one in (names, further))
        raise ValueError(f"artifact.entries are {said}, and the further sizes {wanted}")
    if artifact.entry:
        raise ValueError("artifact.entry: a bundle opens at its default size")
    for entry in artifact.entries:
        where = f"entries: {entry.name}: "
        _check_ports(f"{where}inputs", sized(inputs, entry.name), entry.inputs)
        _check_ports(f"{where}outputs", outputs_of(entry, outputs), entry.outputs)


def outputs_of(entry: Entry, outputs: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The outputs as they are at the entry's size, of the shapes of its ports."""
    shapes = {
        port.name: port.logical_shape
        for port in entry.outputs
        if sorted(port.axes) == [*range(len(port.shape))]
    }
    return tuple(replace(one, shape=shapes.get(one.name, one.shape)) for one in outputs)


def _check_ports(where: str, specs: Iterable[TensorSpec], ports: Iterable[Port]) -> None:
    """ValueError unless each tensor has one port, of its shape."""
    by_name = {port.name: port for port in ports}
    shapes = {spec.name: spec.shape for spec in specs}
    if by_name.keys() != shapes.keys() or len(by_name) < len(tuple(ports)):
        raise ValueError(f"artifact.{where} are not the bundle's {where}: {', '.join(by_name)}")
    for name, port in by_name.items():
        if sorted(port.axes) != list(range(len(port.shape))) or port.logical_shape != shapes[name]:
            raise ValueError(f"artifact.{where}: the shape and axes of '{name}' do not fit")
        try:
            numeric = np.dtype(port.dtype).kind in "fiub"
        except TypeError:
            numeric = False
        if not numeric:
            raise ValueError(f"artifact.{where}: '{name}' has no type of numbers: {port.dtype!r}")


class Manifest(Contents):
    """A whole manifest.

    `digest` is the SHA-256 of the rest as it stands in the file. Of a manifest that was upgraded
    when it was read it is still the file's own: what the bundle is known by.
    """

    files: Mapping[InsidePath, FileEntry]
    digest: Digest

    @model_validator(mode="after")
    def _lists_its_files(self) -> Manifest:
        if len(set(self.golden_files)) < len(self.golden_files):
            raise ValueError("golden: a file stands twice")
        cases = {Path(name).stem for name in self.golden}
        if unknown := [n for n in self.golden_rounded if Path(n).stem not in cases]:
            raise ValueError(f"golden_rounded: {unknown[0]} is of no case of golden")
        left = [name for name in self.golden_files if name not in self.files]
        if left:
            raise ValueError(f"golden: {left[0]} is none of its files")
        if MANIFEST in self.files:
            raise ValueError(f"{MANIFEST} lists itself")
        if not self.artifact_files:
            raise ValueError(f"the artifact {self.artifact.path} is none of its files")
        return self

    @property
    def artifact_files(self) -> dict[str, FileEntry]:
        """The files that ship, by path: one, or all of the artifact's folder."""
        root = str(self.artifact.path)
        return {name: entry for name, entry in self.files.items() if Path(name).parts[0] == root}

    @property
    def golden_files(self) -> tuple[str, ...]:
        """All golden vectors: at each size, and what the rounded program answers."""
        at = (name for names in self.golden_at.values() for name in names)
        return (*self.golden, *at, *self.golden_rounded)

    @property
    def all_notes(self) -> tuple[str, ...]:
        """What a reader should know of the model, then of its conversion."""
        return (*self.notes, *self.artifact.notes)

    def at(self, size: str) -> Manifest:
        """The same as if that size were its only one; UnknownName for one that it has not."""
        names = size_names(self.inputs)
        if size not in names:
            raise UnknownName.among("size", size, names)
        if size == names[0]:
            return self
        entry = next(one for one in self.artifact.entries if one.name == size)
        seen = {
            "inputs": sized(self.inputs, size),
            "outputs": outputs_of(entry, self.outputs),
            "artifact": self.artifact.at(size),
            "golden": self.golden_at.get(size, ()),
            "golden_rounded": (),
        }
        return self.model_copy(update=seen)

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


def digest_of(data: Mapping[str, Any]) -> str:
    """The SHA-256 of a manifest's data without its own digest."""
    rest = {key: value for key, value in data.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def with_own_digest(manifest: Manifest) -> Manifest:
    """The same with the digest of what it says today: what a file that was upgraded holds."""
    data = manifest.to_json()
    return parse(_text_of({**data, "digest": digest_of(data)}), MANIFEST)


def complete(contents: Contents, files: Mapping[str, FileEntry]) -> Manifest:
    """The manifest of these contents and files, as it will be read."""
    data = {
        **contents.model_dump(mode="json"),
        "files": {name: entry.model_dump() for name, entry in files.items()},
    }
    data["digest"] = digest_of(data)
    return parse(_text_of(data), MANIFEST)


def text_of(manifest: Manifest) -> str:
    """What the file holds. One that was upgraded needs `with_own_digest` first."""
    return _text_of(manifest.to_json())


def _text_of(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def parse(text: str, where: str) -> Manifest:
    """A manifest that its digest vouches for, older ones as today's. Raises BadBundle."""
    file = DataFile("the manifest", where, BadBundle)
    data = json_object(text, file)
    version_of(data, SCHEMA, upgrades.MANIFEST, file)
    if data.get("digest") != digest_of(data):
        raise BadBundle("manifest.json was edited: its digest does not match", where=where)
    current = upgraded(data, SCHEMA, upgrades.MANIFEST, file)
    found = validated(Manifest, current, file)
    left = first_missing(current, found.to_json())
    if left is not None:
        raise file.refuse(f"{path_of(left)} is missing", path_of(left))
    return found
